//go:build linux && cgo && amd64

package examples_test

// Small, so as to be tested; what they print in full is in their comments.
func init() {
	examples = append(examples,
		example{name: "forkall-workers", args: []string{"-mb", "4", "-workers", "2"},
			mask: map[string]string{
				`\d+ workers, an index of \d+ MB`:       "N workers, an index of N MB",
				`(forkall|re-exec) +\d+\.\d ms +\d+ MB`: "$1 T ms N MB",
				`\d+ requests`:                          "N requests",
			}, want: `
N workers, an index of N MB
           each ready after    memory, all
forkall T ms N MB
re-exec T ms N MB
N requests answered by the workers, all right
`},
		example{name: "forkall-snapshot", args: []string{"-accounts", "10000"},
			mask: map[string]string{` +\d+\.\d ms +\d+`: " T ms N", `\d+ accounts`: "N accounts"}, want: `
N accounts
                      longest pause   transfers meanwhile
encoded in place T ms N
encoded by a child T ms N
both snapshots: N accounts, the sum is right
`})
}
