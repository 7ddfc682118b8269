/**
 * Names of system calls and io_uring operations, as data: those of Linux 6.12 on x86-64, and those
 * added up to Linux 7.3, the newest examined. test/vm/hook-tables.test.ts compares the table of
 * ../lsm/system-calls.ts with these lists and with the machine's headers.
 */
const names = (text: string): readonly string[] => text.trim().split(/\s+/);

export const CALLS_OF_X86_64_6_12 = names(`
  _sysctl accept accept4 access acct add_key adjtimex afs_syscall alarm arch_prctl bind bpf brk cachestat capget capset chdir chmod
  chown chroot clock_adjtime clock_getres clock_gettime clock_nanosleep clock_settime clone clone3 close close_range connect
  copy_file_range creat create_module delete_module dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
  epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate
  fanotify_init fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr finit_module flistxattr
  flock fork fremovexattr fsconfig fsetxattr fsmount fsopen fspick fstat fstatfs fsync ftruncate futex futex_requeue futex_wait
  futex_waitv futex_wake futimesat get_kernel_syms get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64
  getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getpmsg getppid getpriority getrandom getresgid
  getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr init_module inotify_add_watch
  inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit io_uring_enter
  io_uring_register io_uring_setup ioctl ioperm iopl ioprio_get ioprio_set kcmp kexec_file_load kexec_load keyctl kill
  landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr
  llistxattr lookup_dcookie lremovexattr lseek lsetxattr lsm_get_self_attr lsm_list_modules lsm_set_self_attr lstat madvise
  map_shadow_stack mbind membarrier memfd_create memfd_secret migrate_pages mincore mkdir mkdirat mknod mknodat mlock mlock2
  mlockall mmap modify_ldt mount mount_setattr move_mount move_pages mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
  mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep
  newfstatat nfsservctl open open_by_handle_at open_tree openat openat2 pause perf_event_open personality pidfd_getfd pidfd_open
  pidfd_send_signal pipe pipe2 pivot_root pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64
  process_madvise process_mrelease process_vm_readv process_vm_writev pselect6 ptrace putpmsg pwrite64 pwritev pwritev2 query_module
  quotactl quotactl_fd read readahead readlink readlinkat readv reboot recvfrom recvmmsg recvmsg remap_file_pages removexattr rename
  renameat renameat2 request_key restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
  rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
  sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
  sched_yield seccomp security select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy
  set_mempolicy_home_node set_robust_list set_thread_area set_tid_address setdomainname setfsgid setfsuid setgid setgroups
  sethostname setitimer setns setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt settimeofday
  setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socket socketpair splice stat statfs statmount
  statx swapoff swapon symlink symlinkat sync sync_file_range syncfs sysfs sysinfo syslog tee tgkill time timer_create timer_delete
  timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate tuxcall umask
  umount2 uname unlink unlinkat unshare uretprobe uselib userfaultfd ustat utime utimensat utimes vfork vhangup vmsplice vserver
  wait4 waitid write writev
`);

export const OPERATIONS_6_12 = names(`
  IORING_OP_ACCEPT IORING_OP_ASYNC_CANCEL IORING_OP_BIND IORING_OP_CLOSE IORING_OP_CONNECT IORING_OP_EPOLL_CTL IORING_OP_FADVISE
  IORING_OP_FALLOCATE IORING_OP_FGETXATTR IORING_OP_FILES_UPDATE IORING_OP_FIXED_FD_INSTALL IORING_OP_FSETXATTR IORING_OP_FSYNC
  IORING_OP_FTRUNCATE IORING_OP_FUTEX_WAIT IORING_OP_FUTEX_WAITV IORING_OP_FUTEX_WAKE IORING_OP_GETXATTR IORING_OP_LINKAT
  IORING_OP_LINK_TIMEOUT IORING_OP_LISTEN IORING_OP_MADVISE IORING_OP_MKDIRAT IORING_OP_MSG_RING IORING_OP_NOP IORING_OP_OPENAT
  IORING_OP_OPENAT2 IORING_OP_POLL_ADD IORING_OP_POLL_REMOVE IORING_OP_PROVIDE_BUFFERS IORING_OP_READ IORING_OP_READV
  IORING_OP_READ_FIXED IORING_OP_READ_MULTISHOT IORING_OP_RECV IORING_OP_RECVMSG IORING_OP_REMOVE_BUFFERS IORING_OP_RENAMEAT
  IORING_OP_SEND IORING_OP_SENDMSG IORING_OP_SENDMSG_ZC IORING_OP_SEND_ZC IORING_OP_SETXATTR IORING_OP_SHUTDOWN IORING_OP_SOCKET
  IORING_OP_SPLICE IORING_OP_STATX IORING_OP_SYMLINKAT IORING_OP_SYNC_FILE_RANGE IORING_OP_TEE IORING_OP_TIMEOUT
  IORING_OP_TIMEOUT_REMOVE IORING_OP_UNLINKAT IORING_OP_URING_CMD IORING_OP_WAITID IORING_OP_WRITE IORING_OP_WRITEV
  IORING_OP_WRITE_FIXED
`);

export const ADDED_AFTER_6_12 = names(`
  IORING_OP_EPOLL_WAIT IORING_OP_NOP128 IORING_OP_PIPE IORING_OP_READV_FIXED IORING_OP_RECV_ZC IORING_OP_URING_CMD128
  IORING_OP_WRITEV_FIXED fchroot file_getattr file_setattr getxattrat listns listxattrat open_tree_attr removexattrat
  rseq_slice_yield setxattrat uprobe
`);
