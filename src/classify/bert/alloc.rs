//! Keeps libtorch's buffers in the process.

/// Tells glibc's allocator not to give large blocks back to the kernel. By default every block over 128 KiB is mapped
/// and unmapped anew, and libtorch takes dozens of those in every forward pass: a third of the time went into page
/// faults. The price: up to 64 MiB stay with the process. Elsewhere than on glibc this does nothing.
pub fn keep_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const MIB: libc::c_int = 1 << 20;
        // SAFETY: mallopt takes two integers, may be called at any time from any thread, and reports failure by its
        // return value, which only means that scoring is slower.
        #[expect(unsafe_code, reason = "glibc offers no safe way to set this from inside the process")]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * MIB); // 32 MiB is the most that glibc takes
            libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * MIB);
            libc::mallopt(libc::M_TOP_PAD, 16 * MIB);
        }
    }
}
