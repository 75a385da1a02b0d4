// Package docs is the page that shows the API to people: drawn by Stoplight Elements from the served OpenAPI document, with
// everything it needs compiled in. It loads nothing from anywhere else.
package docs

import (
	"embed"
	"strings"
)

//go:embed assets
var assets embed.FS

// Policy is the Content-Security-Policy of the page. Elements writes sheets of style while it draws, some with places and sizes in
// them, so that no list of hashes holds: that is all that is let loose.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// File is one file of the page.
type File struct {
	Name   string // below /docs/; "" is the page itself
	Type   string
	Body   []byte
	Zipped bool // Body is compressed with gzip
}

// Files lists the files of the page.
func Files() []File {
	return []File{
		file("", "page.html", "text/html; charset=utf-8"),
		file("page.css", "page.css", "text/css; charset=utf-8"),
		file("page.js", "page.js", "text/javascript; charset=utf-8"),
		file("elements.css", "elements.css.gz", "text/css; charset=utf-8"),
		file("elements.js", "elements.js.gz", "text/javascript; charset=utf-8"),
		file("elements.LICENSE.txt", "elements.LICENSE.txt", "text/plain; charset=utf-8"),
	}
}

func file(name, asset, kind string) File {
	body, err := assets.ReadFile("assets/" + asset)
	if err != nil {
		panic("docs: " + err.Error()) // it was compiled in, or it was misspelled here
	}
	return File{Name: name, Type: kind, Body: body, Zipped: strings.HasSuffix(asset, ".gz")}
}
