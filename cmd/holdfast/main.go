// Command holdfast is the order desk, and what belongs to running one.
package main

import (
	"os"

	"github.com/holdfast-oms/holdfast/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
