package consul

import "testing"

func TestLacksVerb(t *testing.T) {
	for version, lacks := range map[string]bool{
		"0.9.4": true, "1.10.0": true, "1.13.9": true, "1.14.0": false, "1.20.1-dev": false, "1.22.0+ent": false, "2.0.0": false, "": false,
	} {
		if got := lacksVerb(version); got != lacks {
			t.Errorf("%q: %v", version, got)
		}
	}
}
