/**
 * Every system call of Linux 6.12 and 7.3 on x86-64 and every io_uring operation: the hook that
 * judges it or the reason why none does, and the test that shows it. syscalls.test.ts reads the
 * calls that it tries here, and test/vm/hook-tables.test.ts compares the names with the kernel's
 * lists. `npm run reference` renders docs/reference/system-calls.md from it.
 */

/**
 * Calls, separated by spaces; hook or reason, in Markdown; tests, separated by semicolons. A test is
 * `<file> › <words in it>` in backticks, with a note if it tries something similar, or `no test:` and
 * the reason.
 */
type Row = readonly [calls: string, how: string, tests?: string];

export interface CallRow {
  readonly calls: readonly string[];
  readonly how: string;
  readonly tests: readonly string[];
}

const parse = (rows: readonly Row[]): CallRow[] =>
  rows.map(([calls, how, tests = 'no test: nothing to deny']) => ({
    calls: calls.trim().split(/\s+/),
    how,
    tests: tests.split('; '),
  }));

const JUDGED: readonly Row[] = [
  [
    'open openat openat2 creat open_by_handle_at IORING_OP_OPENAT IORING_OP_OPENAT2',
    'file_open as `read`, `write`; path_mknod as `create`; file_truncate with `O_TRUNC`',
    '`syscalls.test.ts › files`',
  ],
  ['acct', 'file_open as `write`; capable before it', '`syscalls.test.ts › files`; `syscalls.test.ts › capabilities`'],
  [
    'swapon uselib',
    'file_open; capable before swapon; mmap_file for uselib, which no tested kernel has',
    '`syscalls.test.ts › files`',
  ],
  [
    'execve execveat',
    'file_open, bprm_check_security. `AT_EXECVE_CHECK` (6.14) runs nothing and is not judged',
    '`syscalls.test.ts › files`',
  ],
  [
    'mmap mprotect pkey_mprotect',
    'mmap_file, file_mprotect as `map`, also where `READ_IMPLIES_EXEC` makes a mapping executable',
    '`syscalls.test.ts › files`',
  ],
  ['truncate ftruncate IORING_OP_FTRUNCATE', 'path_truncate, file_truncate', '`syscalls.test.ts › files`'],
  [
    `
      mkdir mkdirat IORING_OP_MKDIRAT rmdir unlink unlinkat IORING_OP_UNLINKAT symlink symlinkat
      IORING_OP_SYMLINKAT mknod mknodat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat
    `,
    'path_mkdir, path_rmdir, path_unlink, path_symlink, path_mknod, path_chmod, path_chown',
    '`syscalls.test.ts › files`',
  ],
  [
    'link linkat IORING_OP_LINKAT rename renameat renameat2 IORING_OP_RENAMEAT',
    'path_link, path_rename: both names',
    '`syscalls.test.ts › files`',
  ],
  [
    `
      setxattr lsetxattr fsetxattr setxattrat IORING_OP_SETXATTR IORING_OP_FSETXATTR removexattr lremovexattr
      fremovexattr removexattrat
    `,
    'inode_setxattr, inode_removexattr, inode_set_acl, inode_remove_acl',
    '`syscalls.test.ts › files`',
  ],
  ['fchroot', 'path_chroot', '`syscalls.test.ts › files`'],
  ['chroot', 'path_chroot; capable before it', '`syscalls.test.ts › files`; `syscalls.test.ts › capabilities`'],
  [
    'mount fsconfig move_mount umount2 pivot_root',
    'sb_mount; sb_set_mnt_opts and sb_remount; move_mount; sb_umount; sb_pivotroot. All except fsconfig also as `mount-point`',
    '`mounts.test.ts › alone is refused, by both interfaces`',
  ],
  [
    'mount_setattr fsopen fspick open_tree',
    'capable: `CAP_SYS_ADMIN`; open_tree with `OPEN_TREE_NAMESPACE` (7.0) as `bind`; without such a rule see [not judged](#not-judged)',
    '`syscalls.test.ts › capabilities`; `syscalls.test.ts › tree-as-namespace`',
  ],
  ['socket socketpair IORING_OP_SOCKET', 'socket_create', '`syscalls.test.ts › network`'],
  ['connect IORING_OP_CONNECT', 'socket_connect; unix_stream_connect, unix_may_send', '`syscalls.test.ts › network`'],
  [
    'sendto sendmsg sendmmsg IORING_OP_SEND IORING_OP_SENDMSG IORING_OP_SEND_ZC IORING_OP_SENDMSG_ZC',
    'socket_sendmsg; unix_may_send; netlink_send',
    '`syscalls.test.ts › network`',
  ],
  ['bind IORING_OP_BIND', 'socket_bind; path_mknod for a path', '`syscalls.test.ts › network`'],
  ['listen IORING_OP_LISTEN', 'socket_listen, by the bound address', '`syscalls.test.ts › network`'],
  [
    'setsockopt',
    'sctp_bind_connect, for SCTP address lists; other options have no address',
    '`network.test.ts › by a list of addresses and by a first send`',
  ],
  ['recvmsg recvmmsg IORING_OP_RECVMSG', 'file_receive, for `SCM_RIGHTS`', '`aliases.test.ts › scm-rights-neighbour`'],
  [
    'ptrace process_vm_readv process_vm_writev pidfd_getfd',
    'ptrace_access_check; ptrace_traceme; file_receive for the descriptor',
    '`syscalls.test.ts › tasks`',
  ],
  [
    'kcmp get_robust_list process_madvise move_pages migrate_pages',
    'ptrace_access_check and for the last two task_movememory, for a task outside the pod; for process_madvise see [other tasks](../runtime-hooks.md#kernel-and-other-tasks-libsbpfbpfruntimekernel-opsh)',
    '`syscalls.test.ts › tasks`',
  ],
  [
    'prlimit64 setpriority ioprio_set sched_setaffinity sched_setscheduler',
    'task_setrlimit, task_setnice, task_setioprio, task_setscheduler, for a task outside the pod',
    '`syscalls.test.ts › tasks`',
  ],
  ['sched_setattr sched_setparam', 'task_setscheduler', '`syscalls.test.ts › tasks` (sched_setscheduler)'],
  [
    'fcntl ioctl',
    'file_fcntl, file_ioctl: the process that gets the signals of the file, and the file behind a FUSE file; otherwise the open was judged',
    '`kernel-ops.test.ts › only tasks of the same pod may be slowed, limited and marked`; `aliases.test.ts › fuse-passthrough`',
  ],
  ['kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal', 'task_kill', '`syscalls.test.ts › tasks`'],
  [
    'perf_event_open',
    'perf_event_open; ptrace_access_check for another task',
    "`kernel-ops.test.ts › ['perf', 'ok', 'EPERM']`",
  ],
  ['bpf', 'bpf; path_mknod to pin; file_open to open a pin', "`kernel-ops.test.ts › ['bpf', 'ok', 'EPERM']`"],
  [
    'init_module finit_module',
    'kernel_load_data, kernel_read_file',
    "`kernel-ops.test.ts › ['finit,/etc/file', 'ENOEXEC', 'EPERM']`",
  ],
  ['kexec_load', 'kernel_load_data', "`kernel-ops.test.ts › ['kexec', 'ok', 'EPERM']`"],
  ['kexec_file_load', 'kernel_read_file; capable before it', '`syscalls.test.ts › capabilities`'],
  [
    'clone fork vfork',
    "task_alloc: the child is its parent's pod; userns_create for a user namespace",
    "`kernel-ops.test.ts › ['userns-clone', 'ok', 'EPERM']`",
  ],
  [
    'clone3 unshare setns',
    'capable; userns_create; task_alloc, also with `CLONE_INTO_CGROUP`',
    '`syscalls.test.ts › capabilities`',
  ],
  ['fanotify_init', 'capable, except for notification by file handle', '`syscalls.test.ts › capabilities`'],
  [
    `
      adjtimex clock_adjtime clock_settime settimeofday sethostname setdomainname iopl ioperm reboot syslog
      vhangup swapoff delete_module setresuid setgroups
    `,
    'capable',
    '`syscalls.test.ts › capabilities`',
  ],
  [
    'setuid setgid setreuid setregid setresgid setfsuid setfsgid',
    'capable',
    '`syscalls.test.ts › capabilities` (setresuid)',
  ],
];

const NOT_JUDGED: readonly Row[] = [
  [
    `
      stat lstat newfstatat statx access faccessat faccessat2 statfs name_to_handle_at file_getattr
      IORING_OP_STATX readlink readlinkat getxattr lgetxattr getxattrat listxattr llistxattr listxattrat
      IORING_OP_GETXATTR
    `,
    'metadata can be **read**: existence, size, owner, times, flags, link targets, attributes, access lists',
    '`syscalls.test.ts › files`',
  ],
  [
    'utime utimes futimesat utimensat file_setattr',
    'times and inode flags have no path hook and change unseen',
    '`syscalls.test.ts › files`',
  ],
  ['chdir fchdir', 'selects a place; opening from there is judged', '`syscalls.test.ts › files`'],
  [
    'inotify_add_watch fanotify_mark',
    "names and times of others' operations; file_open judges descriptors of fanotify",
    '`syscalls.test.ts › files`',
  ],
  ['mq_open mq_unlink', 'message queues opened by name have no path', '`syscalls.test.ts › files`'],
  [
    'fgetxattr flistxattr IORING_OP_FGETXATTR fstat fstatfs ustat',
    'the same for open files',
    '`syscalls.test.ts › files` (the same by path)',
  ],
  [
    'open_tree_attr fsmount',
    'like open_tree: detached until move_mount or use, which are judged; need `CAP_SYS_ADMIN`',
    '`mounts.test.ts › alone is refused, by both interfaces` (bind-by-api, use-detached)',
  ],
  [
    `
      mq_timedsend mq_timedreceive mq_notify mq_getsetattr read write readv writev preadv pwritev preadv2
      pwritev2 getdents lseek io_submit copy_file_range sendfile splice tee vmsplice readahead fadvise64
      sync_file_range fsync fdatasync syncfs cachestat flock close close_range dup dup2 dup3
      IORING_OP_READ IORING_OP_WRITE IORING_OP_READV IORING_OP_WRITEV IORING_OP_READ_FIXED IORING_OP_WRITE_FIXED
      IORING_OP_READV_FIXED IORING_OP_WRITEV_FIXED IORING_OP_READ_MULTISHOT IORING_OP_SPLICE IORING_OP_TEE
      IORING_OP_FALLOCATE IORING_OP_FADVISE IORING_OP_FSYNC IORING_OP_SYNC_FILE_RANGE IORING_OP_CLOSE
      IORING_OP_URING_CMD IORING_OP_URING_CMD128
    `,
    'the open was judged; also commands of an opened driver, options of a socket',
    '`syscalls.test.ts › files` (pread64)',
  ],
  ['pread64 pwrite64 fallocate getdents64', 'the open was judged', '`syscalls.test.ts › files`'],
  ['msync mremap remap_file_pages munmap', 'the mapping was judged', '`exec.test.ts › an executable mapping by mmap`'],
  ['pidfd_open process_mrelease', 'refers to a task; releases memory of a dying one', '`syscalls.test.ts › tasks`'],
  ['setpgid', 'reaches own children only', 'no test: needs a child of another pod, which no pod has'],
  [
    `
      capget getpgid getsid getpriority ioprio_get sched_getaffinity sched_getattr sched_getparam
      sched_getscheduler sched_rr_get_interval wait4 waitid IORING_OP_WAITID
    `,
    'state of a task; waiting for an own child',
    '`syscalls.test.ts › tasks` (pidfd_open)',
  ],
  ['quotactl', 'changes need `CAP_SYS_ADMIN`', '`syscalls.test.ts › capabilities`'],
  ['quotactl_fd', 'the same', '`syscalls.test.ts › capabilities` (quotactl)'],
  [
    `
      accept accept4 shutdown getsockname getpeername getsockopt recvfrom IORING_OP_ACCEPT IORING_OP_SHUTDOWN
      IORING_OP_RECV IORING_OP_RECV_ZC
    `,
    '`connect`, `bind` and `listen` were judged',
    '`network.test.ts › their neighbours pass`',
  ],
  [
    'add_key request_key keyctl',
    "no rule covers keys. Keyrings are per user, so pods of one user share them; the host's `request-key` runs on the host",
    'no test: nothing denies it',
  ],
  [
    'shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop semctl semtimedop',
    "objects of the pod's IPC namespace, without a path; `SHM_EXEC` maps anonymous memory",
    '`drift.test.ts › memory - shared, of huge pages`',
  ],
  [
    'memfd_create memfd_secret',
    'memory without a path; running or mapping it is `anonymous` and drift',
    '`drift.test.ts › tmpfs, volume, memfd and a deleted program are refused`',
  ],
  [
    'io_uring_setup io_uring_enter io_uring_register',
    'its operations are judged like the calls of their name',
    '`syscalls.test.ts › files` (IORING_OP_OPENAT, sqpoll)',
  ],
  [
    'IORING_OP_MSG_RING',
    'descriptors from one own ring to another: see [files](../runtime-hooks.md#files-libsbpfbpfruntimefileh)',
    "no test: both rings are the task's own",
  ],
  [
    'IORING_OP_FIXED_FD_INSTALL IORING_OP_FILES_UPDATE IORING_OP_PIPE',
    'moves or creates own descriptors',
    'no test: nothing of another task',
  ],
  [
    'statmount listmount listns sysfs lsm_get_self_attr lsm_set_self_attr lsm_list_modules',
    'metadata of visible mounts, names of file systems and security modules',
    'no test: no rule covers it',
  ],
  [
    `
      prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self personality userfaultfd
      capset
    `,
    'restrict or describe the task itself; for `READ_IMPLIES_EXEC` see mmap, for `PR_SET_MM` [paths](../runtime-paths.md#what-a-programs-path-does-not-say)',
    '`slips.test.ts › PR_SET_MM_EXE_FILE`',
  ],
];

const WITHOUT_OBJECT: readonly Row[] = [
  [
    `
      _sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms getpmsg lookup_dcookie
      nfsservctl putpmsg query_module security tuxcall vserver
    `,
    'no kernel serves the number any more',
  ],
  [
    `
      IORING_OP_ASYNC_CANCEL IORING_OP_EPOLL_CTL IORING_OP_EPOLL_WAIT IORING_OP_FUTEX_WAIT IORING_OP_FUTEX_WAITV
      IORING_OP_FUTEX_WAKE IORING_OP_LINK_TIMEOUT IORING_OP_MADVISE IORING_OP_NOP IORING_OP_NOP128
      IORING_OP_POLL_ADD IORING_OP_POLL_REMOVE IORING_OP_PROVIDE_BUFFERS IORING_OP_REMOVE_BUFFERS
      IORING_OP_TIMEOUT IORING_OP_TIMEOUT_REMOVE
    `,
    'waits, timers, buffers, memory of the task',
  ],
  [
    `
      arch_prctl brk futex futex_requeue futex_wait futex_waitv futex_wake get_mempolicy get_thread_area madvise
      map_shadow_stack mbind membarrier mincore mlock mlock2 mlockall modify_ldt mseal munlock munlockall
      pkey_alloc pkey_free rseq rseq_slice_yield set_mempolicy set_mempolicy_home_node set_robust_list
      set_thread_area set_tid_address shmdt
    `,
    'memory and locks of the caller',
  ],
  ['uprobe uretprobe', 'called only by code that the kernel placed for a probe of perf_event_open or bpf'],
  [
    `
      epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 inotify_init
      inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup pipe pipe2 poll
      ppoll pselect6 select signalfd signalfd4 sync timerfd_create timerfd_gettime timerfd_settime
    `,
    'pipes, events and waiting',
  ],
  [
    `
      alarm clock_getres clock_gettime clock_nanosleep exit exit_group getcpu getcwd getegid geteuid getgid
      getgroups getitimer getpgrp getpid getppid getrandom getresgid getresuid getrlimit getrusage gettid
      gettimeofday getuid nanosleep pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn
      rt_sigsuspend rt_sigtimedwait sched_get_priority_max sched_get_priority_min sched_yield setitimer
      setrlimit setsid sigaltstack sysinfo time timer_create timer_delete timer_getoverrun timer_gettime
      timer_settime times umask uname
    `,
    'time, signals, limits and numbers of the caller',
  ],
];

export const JUDGED_CALLS = parse(JUDGED);
/** Pass although they concern an object. */
export const UNJUDGED_CALLS = parse(NOT_JUDGED);
/** Take no path, descriptor, address or other task. */
export const CALLS_WITHOUT_OBJECT = parse(WITHOUT_OBJECT);
export const SYSTEM_CALLS: readonly CallRow[] = [...JUDGED_CALLS, ...UNJUDGED_CALLS, ...CALLS_WITHOUT_OBJECT];
