/**
 * For each hook, the test that shows it denying, and the test that shows it allowing an operation
 * without a rule: a file of this folder, and words in it. test/vm/hooks.test.ts checks that no hook
 * is missing and that the words exist. Hooks that deny nothing have their function instead of a
 * denial.
 */
export interface HookTests {
  readonly file: string;
  readonly denies: string;
  readonly allows: string;
}

const files = (...names: string[]): Record<string, HookTests> =>
  Object.fromEntries(
    names.map((name) => [
      name,
      { file: 'files.test.ts', denies: 'is refused where it is denied, in every way', allows: 'every way lands where' },
    ]),
  );
const kernel = (denies: string, allows = 'one - a rule about one of them leaves the others alone'): HookTests => ({
  file: 'kernel-ops.test.ts',
  denies,
  allows,
});
const mounts = (denies: string): HookTests => ({
  file: 'mounts.test.ts',
  denies,
  allows: 'a rule that allows a kind lifts it for that kind alone',
});
const network = (denies: string, allows: string): HookTests => ({ file: 'network.test.ts', denies, allows });

/**
 * By the hook's name. For each of these, `files.test.ts` runs a separate way of
 * programs/file-ops.c.
 */
export const HOOK_TESTS: Readonly<Record<string, HookTests>> = {
  ...files('file_open', 'file_truncate', 'path_truncate', 'path_mknod', 'path_mkdir', 'path_rmdir', 'path_unlink'),
  ...files('path_symlink', 'path_link', 'path_rename', 'path_chmod', 'path_chown', 'path_chroot'),
  ...files('inode_setxattr', 'inode_removexattr', 'inode_set_acl', 'inode_remove_acl'),
  file_receive: {
    file: 'aliases.test.ts',
    denies: 'lands without policy, and with policy',
    allows: 'scm-rights-neighbour',
  },
  bprm_check_security: {
    file: 'exec.test.ts',
    denies: 'block refuses, kill ends the task',
    allows: 'without a policy everything runs',
  },
  mmap_file: { file: 'exec.test.ts', denies: 'an executable mapping by mmap', allows: 'a plain one is not' },
  file_mprotect: { file: 'exec.test.ts', denies: 'and by mprotect is refused', allows: 'a plain one is not' },
  sb_mount: mounts('alone is refused, by both interfaces'),
  sb_set_mnt_opts: mounts('alone is refused, by both interfaces'),
  sb_remount: mounts('alone is refused, by both interfaces'),
  move_mount: mounts('alone is refused, by both interfaces'),
  sb_umount: mounts('alone is refused, by both interfaces'),
  sb_pivotroot: mounts('alone is refused, by both interfaces'),
  socket_create: network("['socket,2,3,1', 'ok', 'EPERM']", "['socket,2,1,0', 'ok', 'ok']"),
  socket_connect: network(
    "['connect,tcp,127.9.0.1,100', REFUSED, 'EPERM']",
    "['connect,tcp,127.8.0.1,100', REFUSED, REFUSED]",
  ),
  socket_sendmsg: network("['send,udp,127.9.0.1,150', 'ok', 'EPERM']", "['send,udp,127.9.0.1,250', 'ok', 'ok']"),
  socket_bind: network("['bind,tcp,127.0.0.1,7005', 'ok', 'EPERM']", "['bind,tcp,127.0.0.1,7015', 'ok', 'ok']"),
  socket_listen: network("['listen,tcp,127.0.0.1,7025', 'ok', 'EPERM']", "['listen,tcp,::1,7025', 'ok', 'ok']"),
  sctp_bind_connect: network(
    "['connectx,1,127.9.0.1,150', REFUSED, 'EPERM']",
    "['bindx,1,127.0.0.1,7015', 'ok', 'ok']",
  ),
  unix_stream_connect: network("['uconnect,stream,@secret', 'ok', 'EPERM']", "['uconnect,stream,@open', 'ok', 'ok']"),
  unix_may_send: network("['usend,dgram,@note', 'ok', 'EPERM']", "['usend,dgram,@line', 'ok', 'ok']"),
  capable: kernel("['hostname', 'ok', 'EPERM']", "['nice', 'ok', 'ok']"),
  ptrace_access_check: kernel("['attach,child', 'ok', 'EPERM']"),
  ptrace_traceme: kernel("['traceme', 'ok', 'EPERM']"),
  task_kill: kernel("},18`, 'ok', 'EPERM']", "},18`, 'ok', 'ok']"),
  ...Object.fromEntries(
    ['task_setrlimit', 'task_setnice', 'task_setioprio', 'task_setscheduler', 'task_movememory'].map((hook) => [
      hook,
      kernel('only tasks of the same pod may be slowed, limited and marked', "? 'ok' : 'EPERM'"),
    ]),
  ),
  file_fcntl: kernel("'pages', 'owner']", "['owner,self', 'ok', 'ok']"),
  file_ioctl: kernel("[`owner-ioctl,${process.pid}`, 'ok', 'EPERM']", "['rtnetlink,own', 'ok', 'ok']"),
  file_ioctl_compat: kernel("[`owner-compat,${process.pid}`, 'ok', 'EPERM']", "['rtnetlink,own', 'ok', 'ok']"),
  userns_create: kernel("['userns', 'ok', 'EPERM']"),
  bpf: kernel("['bpf', 'ok', 'EPERM']", 'without a policy each is done'),
  kernel_load_data: kernel("['module', 'ENOEXEC', 'EPERM']"),
  kernel_read_file: kernel("['finit,/etc/file', 'ENOEXEC', 'EPERM']"),
  kernel_module_request: kernel(
    'a call that needs a module ends as without the module',
    'without the rule it is loaded',
  ),
  netlink_send: kernel("['rtnetlink,target-id', 'EINVAL', 'EPERM']", "['rtnetlink,own', 'ok', 'ok']"),
  perf_event_open: kernel("['perf', 'ok', 'EPERM']"),
  // These decide nothing.
  socket_post_create: network(
    'the creator of a raw or packet socket is found by its cookie',
    'expect(stream).toBeUndefined()',
  ),
  bprm_committed_creds: {
    file: 'identity.test.ts',
    denies: 'the first program of a container is held',
    allows: "a runtime's own steps are counted and not judged",
  },
  task_alloc: {
    file: 'exec.test.ts',
    denies: 'holds for a program and for programs that it started',
    allows: 'and for no other program',
  },
  task_free: {
    file: 'identity.test.ts',
    denies: 'a task that ended leaves no state',
    allows: 'one policy does not reach another pod, nor the host',
  },
  d_instantiate: {
    file: 'open-cache.test.ts',
    denies: "['dentries', 'recreate']",
    allows: 'each open after a change has the outcome of its name',
  },
  cgroup_mkdir: {
    file: 'identity.test.ts',
    denies: 'the kernel binds a pod by the name',
    allows: 'one policy does not reach another pod, nor the host',
  },
  cgroup_attach_task: {
    file: 'entry.test.ts',
    denies: 'is held, although a pod moves it out before its first program',
    allows: 'is not judged where a pod moved it in',
  },
  task_newtask: {
    file: 'entry.test.ts',
    denies: 'that starts in the cgroup',
    allows: 'nor is a program or a child that it starts there',
  },
  cgroup_rmdir: {
    file: 'identity.test.ts',
    denies: 'removing one removes its entry',
    allows: 'a later pod of the same UID starts without state',
  },
};

/** Hooks that have no program, separated by commas, and the reason, in Markdown. */
export const HOOKS_WITHOUT_PROGRAM: readonly (readonly [hooks: string, why: string])[] = [
  [
    'bprm_creds_from_file, bprm_creds_for_exec',
    'bprm_check_security judges program and interpreter; capable judges the use of rights',
  ],
  [
    'fs_context_dup, fs_context_parse_param, fs_context_submount',
    'they only fill a context; sb_set_mnt_opts precedes every mount',
  ],
  [
    'file_permission, socket_accept, socket_recvmsg, socket_setsockopt',
    'the open or connection was judged; received descriptors go to file_receive',
  ],
  ['inode_* with a path_* beside it', 'no mount is given, so there is no path'],
  ['file_lock, key_alloc, key_permission', 'no rule covers them'],
  [
    'inode_getattr, inode_readlink, inode_getxattr, inode_listxattr, inode_setattr, inode_file_getattr, inode_file_setattr, path_notify',
    'metadata, times and flags: see [not judged](#not-judged)',
  ],
  [
    'task_prlimit, task_setpgid, quotactl, quota_on, syslog, settime',
    'task_setrlimit judges the change of a limit; task_setpgid reaches children only; capable is called before the others',
  ],
  [
    'uring_sqpoll, uring_override_creds, uring_cmd, uring_allowed',
    'operations of a ring are judged like the calls of their name',
  ],
  ['task_prctl', '`PR_SET_MM` and similar operations call capable'],
];
