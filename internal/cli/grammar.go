package cli

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/holdfast-oms/holdfast/internal/config"
)

// grammar is the whole command line.
type grammar struct {
	ConfigFile string           `name:"config" placeholder:"FILE" help:"The settings file, instead of holdfast.yaml in the working folder (HOLDFAST_CONFIG)."`
	Show       kong.VersionFlag `name:"version" help:"Show the version."`

	Serve   serveCommand   `cmd:"" help:"Run the order desk."`
	Migrate migrateCommand `cmd:"" help:"Bring the schema of the record up to date."`
	Audit   auditCommand   `cmd:"" help:"Check that everything in the record adds up."`
	Bench   benchCommand   `cmd:"" help:"Measure a desk under load."`
	Backup  backupCommand  `cmd:"" help:"Copy the record, beside a desk that may be serving it."`
	Rebuild rebuildCommand `cmd:"" help:"Fill Redis anew from the record."`
	Order   orderCommand   `cmd:"" help:"Place, pay, watch and end orders."`
	Product productCommand `cmd:"" help:"Put products on sale."`
	Stock   stockCommand   `cmd:"" help:"Take deliveries in, and look at what is left."`
	User    userCommand    `cmd:"" help:"Tell the desk of its buyers."`
	Session sessionCommand `cmd:"" help:"Log buyers in and out."`
	Key     keyCommand     `cmd:"" help:"Manage the API keys of a running desk."`
	Numbers numbersCommand `cmd:"" help:"See what became of order numbers, and make them ready."`
	Warm    warmCommand    `cmd:"" help:"Load the products into Redis before a sale opens."`
	Config  configCommand  `cmd:"" help:"Show the settings in effect and where each came from."`
	Version versionCommand `cmd:"" help:"Show the version."`

	Completion completionCommand `cmd:"" help:"Print what makes a shell complete commands and flags."`
	Complete   completeCommand   `cmd:"" name:"__complete" hidden:"" passthrough:"" help:"For the scripts of completion."`
}

func newGrammar() *grammar {
	g := &grammar{}
	g.Serve.settings = flagsOf(config.Desk, config.Guards, config.Tuning)
	g.Migrate.settings = flagsOf("database_url")
	g.Audit.settings = flagsOf("database_url")
	g.Backup.settings = flagsOf("database_url")
	g.Rebuild.settings = flagsOf("database_url", "redis_url")
	for _, calling := range []*settings{
		&g.Order.settings, &g.Product.settings, &g.Stock.settings, &g.User.settings, &g.Session.settings, &g.Key.settings, &g.Numbers.settings,
		&g.Warm.settings,
	} {
		*calling = flagsOf(config.Caller)
	}
	g.Config.settings = flagsOf(config.Sections()...)
	return g
}

// settings are the flags of some settings. They are made of the settings' table, so that there is nothing to keep in step.
type settings struct {
	kong.Plugins
}

// flagsOf makes the flags of whole sections, or of settings by their names.
func flagsOf(which ...config.Section) settings {
	var fields []reflect.StructField
	for _, s := range config.Settings() {
		if !slices.Contains(which, s.Section) && !slices.Contains(which, config.Section(s.Name)) {
			continue
		}
		tag := fmt.Sprintf(`name:%q help:%q placeholder:%q group:%q`, s.Flag(), s.Help, placeholder(&s), s.Section)
		fields = append(fields, reflect.StructField{Name: fieldName(s.Name), Type: reflect.TypeFor[string](), Tag: reflect.StructTag(tag)})
	}
	return settings{kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}}
}

// given is what was set by flags, by the names of the settings.
func (s settings) given() map[string]string {
	found := map[string]string{}
	for _, flags := range s.Plugins {
		fields := reflect.ValueOf(flags).Elem()
		for _, setting := range config.Settings() {
			if f := fields.FieldByName(fieldName(setting.Name)); f.IsValid() {
				found[setting.Name] = f.String()
			}
		}
	}
	return found
}

// placeholder stands behind the flag in a help text: the default, or what is to be written.
func placeholder(s *config.Setting) string {
	if s.Default != "" {
		return s.Default
	}
	return strings.ToUpper(s.Form)
}

// fieldName makes PayWindow of pay_window.
func fieldName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// groups are the titles in help texts.
func groups() []kong.Group {
	all := []kong.Group{
		{Key: "running", Title: "Against a desk that runs already:"},
		{Key: "own", Title: "Or against desks that it starts, as it does otherwise:"},
	}
	for _, s := range config.Sections() {
		all = append(all, kong.Group{Key: string(s), Title: string(s) + ":"})
	}
	return all
}
