package procstate

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A CapSet is a set of capabilities: capability n is bit n, as in /proc.
type CapSet uint64

// capNames are the capabilities of linux/capability.h by number.
var capNames = strings.Fields(`
	cap_chown cap_dac_override cap_dac_read_search cap_fowner cap_fsetid cap_kill
	cap_setgid cap_setuid cap_setpcap cap_linux_immutable cap_net_bind_service
	cap_net_broadcast cap_net_admin cap_net_raw cap_ipc_lock cap_ipc_owner
	cap_sys_module cap_sys_rawio cap_sys_chroot cap_sys_ptrace cap_sys_pacct
	cap_sys_admin cap_sys_boot cap_sys_nice cap_sys_resource cap_sys_time
	cap_sys_tty_config cap_mknod cap_lease cap_audit_write cap_audit_control
	cap_setfcap cap_mac_override cap_mac_admin cap_syslog cap_wake_alarm
	cap_block_suspend cap_audit_read cap_perfmon cap_bpf cap_checkpoint_restore`)

func capName(bit int) string {
	if bit < len(capNames) {
		return capNames[bit]
	}
	return fmt.Sprintf("cap_%d", bit)
}

// Names returns the names of the set's capabilities, in the order of their
// numbers; one that is newer than this package is such as "cap_41".
func (set CapSet) Names() []string { return bitNames(uint64(set), capName) }

// String returns the names with spaces between, or "none". A set that has more
// than it lacks of those known is "all" or "all but" what it lacks.
func (set CapSet) String() string {
	known := CapSet(1)<<len(capNames) - 1
	if set&^known != 0 {
		return strings.Join(set.Names(), " ")
	}
	return setText(set.Names(), (known &^ set).Names())
}

// MarshalJSON writes the names as a list.
func (set CapSet) MarshalJSON() ([]byte, error) { return json.Marshal(set.Names()) }

// UnmarshalJSON reads the list that MarshalJSON writes.
func (set *CapSet) UnmarshalJSON(text []byte) error {
	bits, err := parseNames(text, capName)
	*set = CapSet(bits)
	return err
}
