package memlimit

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var globalMemoryStatusEx = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

// memoryStatusEx is MEMORYSTATUSEX.
type memoryStatusEx struct {
	length                               uint32
	load                                 uint32
	totalPhys, availPhys                 uint64
	totalPageFile, availPageFile         uint64
	totalVirtual, availVirtual, extended uint64
}

func system() (limits []Limit) {
	s := memoryStatusEx{length: uint32(unsafe.Sizeof(memoryStatusEx{}))}
	if ok, _, _ := globalMemoryStatusEx.Call(uintptr(unsafe.Pointer(&s))); ok != 0 && s.totalPhys < 1<<62 {
		limits = append(limits, Limit{Bytes: int64(s.totalPhys), Free: int64(s.availPhys), Source: Physical})
	}
	var job windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	err := windows.QueryInformationJobObject(0, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&job)),
		uint32(unsafe.Sizeof(job)), nil)
	if err != nil { // in no job
		return limits
	}
	for flag, bytes := range map[uint32]uintptr{
		windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY: job.ProcessMemoryLimit,
		windows.JOB_OBJECT_LIMIT_JOB_MEMORY:     job.JobMemoryLimit,
	} {
		if job.BasicLimitInformation.LimitFlags&flag != 0 && uint64(bytes) < 1<<62 {
			limits = append(limits, Limit{Bytes: int64(bytes), Free: int64(bytes), Source: JobObject})
		}
	}
	return limits
}
