// Package program makes programs of a few instructions, written out as machine
// code for linux/amd64 and linux/arm64: they need no compiler, no libc and no
// loader, start at once in any root directory, and what /proc says of them is what
// their starter gave them.
package program

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
)

// Exit is an executable file that exits with status 0.
func Exit() []byte {
	return executable(map[string][]byte{
		"amd64": {0x31, 0xff, // xor edi, edi
			0xb8, 231, 0, 0, 0, // mov eax, exit_group
			0x0f, 0x05}, // syscall
		"arm64": words(0xd2800000, // mov x0, #0
			0xd2800bc8,  // mov x8, #exit_group
			0xd4000001), // svc #0
	})
}

// Pause is an executable file that writes one byte to the descriptor ready, at
// most 65,535, and then waits for a signal for ever.
func Pause(ready int) []byte {
	amd64 := binary.LittleEndian.AppendUint32([]byte{0xbf}, uint32(ready)) // mov edi, ready
	amd64 = append(amd64,
		0x48, 0x8d, 0x35, 0, 0, 0, 0, // lea rsi, [rip]
		0xba, 1, 0, 0, 0, // mov edx, 1
		0xb8, 1, 0, 0, 0, // mov eax, write
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov eax, pause
		0x0f, 0x05, // syscall
		0xeb, 0xf7) // jmp to the mov
	return executable(map[string][]byte{
		"amd64": amd64,
		"arm64": words(0xd2800000|uint32(ready)<<5, // mov x0, #ready
			0x10000001,                                     // adr x1, .
			0xd2800022,                                     // mov x2, #1
			0xd2800808,                                     // mov x8, #write
			0xd4000001,                                     // svc #0
			0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, // mov x0..x3, #0
			0xd2800928,  // mov x8, #ppoll
			0xd4000001,  // svc #0
			0x17fffffa), // b to the first of the movs
	})
}

// Write writes an executable file into a new directory, both for anybody to use
// whatever the umask, and returns its path. The caller removes the directory.
func Write(image []byte) (path string, err error) {
	dir, err := os.MkdirTemp("", "program")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "program")
	err = os.WriteFile(path, image, 0o755)
	for _, p := range []string{dir, path} {
		if err == nil {
			err = os.Chmod(p, 0o755)
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return path, nil
}

func words(instructions ...uint32) []byte {
	var code []byte
	for _, w := range instructions {
		code = binary.LittleEndian.AppendUint32(code, w)
	}
	return code
}

// executable puts the code for this machine into an ELF file of one segment.
func executable(code map[string][]byte) []byte {
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	const base = 0x400000
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phnum: 1, Shentsize: 64,
	}
	var segment elf.Prog64
	header.Ehsize, header.Phentsize = uint16(binary.Size(header)), uint16(binary.Size(segment))
	header.Phoff = uint64(header.Ehsize)
	start := uint64(header.Ehsize + header.Phentsize)
	header.Entry = base + start
	size := start + uint64(len(code[runtime.GOARCH]))
	segment = elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000}

	var file bytes.Buffer
	for _, part := range []any{header, segment, code[runtime.GOARCH]} {
		binary.Write(&file, binary.LittleEndian, part) // a Buffer takes all, and all have a fixed size
	}
	return file.Bytes()
}
