// A shell by every name in common images. Without a policy each runs; under the ready-made policy
// no-shell none does, whether /bin is a link to /usr/bin or a separate folder. A program beside
// them runs both times. Nor can the pod make another name for one. The merged layout is this machine's own, with its shells. Programs of the
// other layouts are stand-ins, because the policy compares only names.
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acts, LOAD_TIMEOUT_MS } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { readySet, Stage } from './scenarios-rig.ts';

const LOADER = process.arch === 'arm64' ? '/usr/lib/ld-linux-aarch64.so.1' : '/usr/lib64/ld-linux-x86-64.so.2';

const rig = useRig();
let stage: Stage;
beforeAll(() => {
  stage = new Stage(rig);
  for (const shell of ['/bin/sh', '/usr/bin/sh'])
    writeFileSync(path.join(stage.root, `srv/by${shell.replaceAll('/', '-')}`), `#!${shell}\n`, { mode: 0o755 });
}, LOAD_TIMEOUT_MS);
afterAll(() => {
  stage?.[Symbol.dispose]();
});

describe('/bin is a link to /usr/bin', () => {
  it.each([
    ...['/bin/sh', '/usr/bin/sh', '/bin/dash', '/usr/bin/dash', '/bin/bash', '/usr/bin/bash'].map(
      (shell) => [shell, '-c', 'true'] as const,
    ),
    ['/srv/by-bin-sh'],
    ['/srv/by-usr-bin-sh'],
    [LOADER, '/bin/bash', '-c', 'true'],
    [LOADER, '/usr/bin/bash', '-c', 'true'],
    [LOADER, '/bin/dash', '-c', 'true'],
  ])('%s %s - runs without the policy and not with it', async (...words) => {
    const attempt = ['/usr/bin/acts', 'run', ...words, ',', 'run', '/usr/bin/true', ','];
    const landed = [`run ${words[0]}: ok`, 'run /usr/bin/true: ok'];
    // A shell may print more: its start-up file comes from the machine, and the container may not
    // be able to read all of it.
    const printed = async () => (await stage.run(attempt)).lines.filter((line) => line.startsWith('run '));
    rig.object.maps.pods.delete(stage.pod.uid);
    expect(await printed()).toEqual(landed);
    stage.pod.put(readySet('no-shell'));
    // The loader itself runs; it exits with an error of its own if it cannot map the shell.
    const refused = words[0] === LOADER ? /: exit \d+$/ : /: EPERM$/;
    expect(await printed()).toEqual([expect.stringMatching(refused), landed[1]]);
    // The loader opens the shell to read it.
    expect(stage.pod.counts()).toEqual({ [words[0] === LOADER ? 'shell-copy' : 'shell']: 1 });
  });
});

interface Image {
  readonly name: string;
  readonly programs: readonly string[];
  readonly links?: Readonly<Record<string, string>>;
  readonly hardLinks?: Readonly<Record<string, string>>;
  /** Rule of no-shell; default `shell`. */
  readonly rule?: string;
}

const IMAGES: readonly Image[] = [
  {
    name: 'Alpine, every tool a link to /bin/busybox',
    programs: ['/bin/busybox', '/bin/bash'],
    links: { '/bin/sh': '/bin/busybox', '/bin/ash': '/bin/busybox', '/usr/bin/nc': '/bin/busybox' },
  },
  {
    name: 'Alpine, tools outside of the base system',
    programs: ['/bin/busybox.static', '/bin/busybox-extras'],
    links: { '/usr/bin/telnet': '/bin/busybox-extras' },
  },
  {
    name: 'the image of BusyBox, every tool a separate file',
    programs: ['/bin/busybox'],
    hardLinks: { '/bin/sh': '/bin/busybox', '/bin/ash': '/bin/busybox' },
  },
  {
    name: 'debug images, tools below /busybox',
    programs: ['/busybox/busybox'],
    links: { '/busybox/bin/sh': '/busybox/busybox' },
    hardLinks: { '/busybox/sh': '/busybox/busybox', '/busybox/ash': '/busybox/busybox' },
  },
  {
    name: 'a folder of /bin beside /usr/bin',
    programs: ['/bin/bash', '/bin/dash', '/bin/ksh93', '/bin/zsh', '/usr/bin/fish', '/usr/bin/mksh', '/usr/bin/sh'],
    links: { '/bin/sh': 'dash', '/bin/rbash': 'bash', '/usr/bin/bash': '../../bin/bash' },
  },
  {
    name: 'shells at other places',
    programs: [
      ...['/usr/local/bin/bash', '/usr/local/bin/sh', '/sbin/busybox', '/tmp/tools/busybox', '/opt/conda/bin/bash'],
      ...['/usr/lib/klibc/bin/sh', '/usr/lib/klibc/bin/mksh', '/usr/lib/x86_64-linux-musl/bin/mksh'],
    ],
  },
  {
    name: 'shells of distributions, by both spellings',
    programs: ['bsd-csh', 'csh', 'lksh', 'mksh', 'mksh-static', 'oksh', 'posh', 'yash', 'rc', 'pwsh'].flatMap(
      (name) => [`/bin/${name}`, `/usr/bin/${name}`],
    ),
  },
  {
    name: 'tools that start a shell, by both spellings',
    programs: ['nc.openbsd', 'nc.traditional', 'socat', 'socat1', 'script', 'ncat'].flatMap((name) => [
      `/bin/${name}`,
      `/usr/bin/${name}`,
    ]),
    rule: 'shell-by-another-way',
  },
];

describe('/bin is a separate folder', () => {
  it.each(IMAGES.map((image) => [image.name, image] as const))('%s', async (_name, image) => {
    const { programs, links = {}, hardLinks = {}, rule = 'shell' } = image;
    const pod = rig.pod();
    const container = pod.container();
    for (const program of [...programs, '/bin/server']) container.install(acts(), program);
    for (const [make, made] of [
      [(target: string, at: string) => symlinkSync(target, at), links],
      [(target: string, at: string) => linkSync(container.image(target), at), hardLinks],
    ] as const) {
      for (const [name, target] of Object.entries(made)) {
        mkdirSync(path.dirname(container.image(name)), { recursive: true });
        make(target, container.image(name));
      }
    }
    const names = [...programs, ...Object.keys(links), ...Object.keys(hardLinks)];
    const attempt = [...names, '/bin/server'].flatMap((name) => ['run', name, ',']);
    const outcome = (how: string) => [...names.map((name) => `run ${name}: ${how}`), 'run /bin/server: ok'];
    expect(await container.acts(...attempt)).toEqual(outcome('ok'));
    pod.put(readySet('no-shell'));
    expect(await container.acts(...attempt)).toEqual(outcome('EPERM'));
    expect(pod.counts()).toEqual({ [rule]: names.length });
  });
});

/** Ways to another name for a shell. The last act runs it. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'a copy': ['copy', '/bin/bash', '/tmp/x', 'run', '/tmp/x', ','],
  'a copy in memory': ['memfd', '/bin/bash'],
  'a hard link': ['link', '/bin/bash', '/tmp/x', 'run', '/tmp/x', ','],
  'a move': ['rename', '/bin/bash', '/tmp/x', 'run', '/tmp/x', ','],
  'a bind mount': ['mkdir', '/tmp/x', 'unshare-mnt', 'bind', '/bin', '/tmp/x', 'run', '/tmp/x/bash', ','],
  'a bind mount in a user namespace': [
    ...['mkdir', '/tmp/x', 'unshare-user', 'bind', '/bin', '/tmp/x', 'run', '/tmp/x/bash', ','],
  ],
  'a copy of a tool that starts a shell': ['copy', '/usr/bin/socat', '/tmp/x', 'run', '/tmp/x', ','],
};

describe('another name for a shell', () => {
  it.each(Object.entries(NAMES))(
    '%s - runs without the policy and not with it; another program is copied',
    async (_name, words) => {
      const pod = rig.pod();
      const beside = ['copy', '/bin/server', '/tmp/server', 'run', '/tmp/server', ','];
      const attempt = async () => {
        const container = pod.container();
        for (const name of ['/bin/bash', '/bin/server', '/usr/bin/socat']) container.install(acts(), name);
        const ended = await container.acts(...beside, ...words);
        return { beside: ended.slice(0, 2), last: ended.at(-1) };
      };
      const copied = ['copy /tmp/server: ok', 'run /tmp/server: ok'];
      expect(await attempt()).toEqual({ beside: copied, last: expect.stringMatching(/: ok$/) });
      pod.put(readySet('no-shell'));
      expect(await attempt()).toEqual({ beside: copied, last: expect.not.stringMatching(/: ok$/) });
      const { 'shell-copy': shells = 0, 'tool-copy': tools = 0 } = pod.counts();
      expect(shells + tools).toBeGreaterThan(0);
    },
  );
});
