//go:build cgo && (amd64 || arm64)

package serve

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is the address of a client as the kernel says it. It is made a [net.Addr] when
// somebody wants to know.
type peer struct{ raw unix.RawSockaddrAny }

// addr returns a *net.TCPAddr or a *net.UnixAddr, or nil for another family.
func (p *peer) addr() net.Addr {
	switch p.raw.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.raw))
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(in.Addr), hostOrder(in.Port)))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&p.raw))
		ip := netip.AddrFrom16(in.Addr).Unmap()
		if in.Scope_id != 0 {
			if device, err := net.InterfaceByIndex(int(in.Scope_id)); err == nil {
				ip = ip.WithZone(device.Name)
			}
		}
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, hostOrder(in.Port)))
	case unix.AF_UNIX:
		path := (*[108]byte)(unsafe.Pointer(&(*unix.RawSockaddrUnix)(unsafe.Pointer(&p.raw)).Path))
		if path[0] == 0 { // an abstract name, or none
			return &net.UnixAddr{Name: "@" + unix.ByteSliceToString(path[1:]), Net: "unix"}
		}
		return &net.UnixAddr{Name: unix.ByteSliceToString(path[:]), Net: "unix"}
	}
	return nil
}

// hostOrder turns a port around.
func hostOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}
