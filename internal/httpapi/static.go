package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/httpapi/docs"
)

// static is an answer that stays the same while the process runs: whoever has it asks whether it is still the same.
type static struct {
	kind   []string // Content-Type
	plain  []byte   // nil: only zipped is kept
	zipped []byte   // nil: too small to be worth it
	tag    []string // ETag: weak, for it names the content and not one of its codings
}

// zipFrom is the size from which compressing is worth it.
const zipFrom = 4 << 10

func newStatic(kind string, plain []byte) *static {
	f := &static{kind: []string{kind}, plain: plain, tag: tagOf(plain)}
	if len(plain) >= zipFrom {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one there is
		_, _ = z.Write(plain)                                 // into memory
		_ = z.Close()
		f.zipped = b.Bytes()
	}
	return f
}

func tagOf(content []byte) []string {
	sum := sha256.Sum256(content)
	return []string{`W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

var (
	revalidated = []string{"no-cache"}
	gzipped     = []string{"gzip"}
)

// static answers with a file, or says that the client has it already.
func (x *exchange) static(f *static) {
	h := x.Header()
	h["Cache-Control"], h["Etag"] = revalidated, f.tag
	if f.zipped != nil {
		h.Add("Vary", "Accept-Encoding") // there may be Origin
	}
	if known(x.r.Header["If-None-Match"], f.tag[0]) {
		x.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = f.kind
	switch {
	case f.zipped != nil && takesGzip(x.r.Header["Accept-Encoding"]):
		h["Content-Encoding"] = gzipped
		x.write(http.StatusOK, f.zipped)
	case f.plain != nil:
		x.write(http.StatusOK, f.plain)
	default:
		x.write(http.StatusOK, unzip(f.zipped))
	}
}

// unzip is for the few who take no gzip. What it reads was compiled in.
func unzip(zipped []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil
	}
	return plain
}

// known reports whether one of the tags that a client names is this one, compared weakly (RFC 9110, section 13.1.2).
func known(sent []string, tag string) bool {
	for _, list := range sent {
		for one := range strings.SplitSeq(list, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// takesGzip reports whether a client names gzip and does not rule it out (RFC 9110, section 12.5.3).
func takesGzip(sent []string) bool {
	for _, list := range sent {
		for one := range strings.SplitSeq(list, ",") {
			coding, weight, _ := strings.Cut(one, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			_, quality, _ := strings.Cut(weight, "=")
			return strings.Trim(quality, " 0.") != "" || strings.TrimSpace(quality) == ""
		}
	}
	return false
}

// documented is where the document says that the desk is, until the server is told better.
const documented = "http://127.0.0.1:8080"

// newDocument is the OpenAPI document with the address of this desk: in its servers and in its examples.
func newDocument(publicURL string) *static {
	if !plainAddress(publicURL) || publicURL == documented {
		return documentAsIs()
	}
	return newStatic(jsonType[0], bytes.ReplaceAll(api.Document, []byte(documented), []byte(publicURL)))
}

// documentAsIs is made once: pressing it takes longer than all else that a server begins with.
var documentAsIs = sync.OnceValue(func() *static { return newStatic(jsonType[0], api.Document) })

// plainAddress reports whether an address can stand in JSON and, between double quotes, in a shell, as it is.
func plainAddress(address string) bool {
	quoted, err := json.Marshal(address)
	return address != "" && err == nil && len(quoted) == len(address)+2 && !strings.ContainsAny(address, "$`!")
}

// docsPage is the files of the docs page, by their names.
var docsPage = sync.OnceValue(func() map[string]*static {
	files := map[string]*static{}
	for _, f := range docs.Files() {
		if f.Zipped {
			files[f.Name] = &static{kind: []string{f.Type}, zipped: f.Body, tag: tagOf(f.Body)}
		} else {
			files[f.Name] = newStatic(f.Type, f.Body)
		}
	}
	return files
})

var pagePolicy = []string{docs.Policy}

func (s *Server) getDocument(x *exchange) error {
	x.static(s.document)
	return nil
}

// getDocs gives the page, and getDocsFile what it loads.
func (s *Server) getDocs(x *exchange) error {
	h := x.Header()
	h["Content-Security-Policy"] = pagePolicy
	h["Referrer-Policy"] = []string{"no-referrer"}
	x.static(s.page[""])
	return nil
}

func (s *Server) getDocsFile(x *exchange) error {
	f := s.page[x.r.PathValue("file")]
	if f == nil {
		return fault.ErrNotFound
	}
	x.static(f)
	return nil
}
