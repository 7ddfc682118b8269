/** The configuration of a container of rig.ts that a real runc starts. */
import path from 'node:path';
import type { Container } from './rig.ts';

export const CAPABILITIES = ['CAP_CHOWN', 'CAP_SETUID', 'CAP_SETGID', 'CAP_NET_BIND_SERVICE', 'CAP_KILL'];

export const specOf = (container: Container, args: readonly string[], capabilities: readonly string[]) => ({
  ociVersion: '1.0.2',
  process: {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args,
    env: ['PATH=/bin'],
    cwd: '/',
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    noNewPrivileges: true,
  },
  root: { path: container.root, readonly: false },
  hostname: 'pod',
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue' },
  ],
  linux: {
    cgroupsPath: path.join('/', path.relative('/sys/fs/cgroup', container.cgroup)),
    namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
    maskedPaths: ['/proc/kcore'],
    readonlyPaths: ['/proc/sys'],
  },
});
