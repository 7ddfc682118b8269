// Samples from the kernel as the collector gets them: the operation, its object and its task, read
// from the ring and decoded.
import { writeFileSync } from 'node:fs';
import type { RuntimeSample } from '@bailiff/bpf';
import { CAPABILITIES, type RuntimePolicyInput } from '@bailiff/policy';
import {
  KERNEL_VALUES,
  MOUNT_VALUES,
  OPERATIONS,
  type OperationName,
  RULE_ACTIONS,
  socketValue,
} from '@bailiff/runtime';
import { beforeEach, describe, expect, it } from 'vitest';
import { acts, type Container, type Pod } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { programPath } from './operations.ts';

type Rules = NonNullable<RuntimePolicyInput['rules']>;

describe('samples', () => {
  const rig = useRig();
  let pod: Pod;
  let container: Container;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    container.install(programPath('kernel-ops'), '/bin/kernel-ops');
    container.install(acts(), '/bin/denied');
    rig.takeSamples();
  });

  const samplesOf = (op: OperationName): RuntimeSample[] =>
    rig.takeSamples().filter((sample) => sample.pod === pod.uid && OPERATIONS[sample.op] === op);
  const action = (name: (typeof RULE_ACTIONS)[number]): number => RULE_ACTIONS.indexOf(name);

  it('program - path, programs, arguments, ids and capabilities of the refused task', async () => {
    pod.apply({ rules: [{ name: 'denied', action: 'block', execute: { paths: ['/bin/denied'] } }] });
    const running = container.start(['/bin/acts', 'run', '/bin/denied', 'one', 'two', ',', 'wait']);
    await running.line('ready');
    const [sample, ...others] = samplesOf('execute');
    running.go();
    await running.exit();
    expect(others).toEqual([]);
    expect(sample).toMatchObject({
      pod: pod.uid,
      cgroupId: container.cgroupId,
      containerCgroupId: container.cgroupId,
      generation: pod.subject().generation,
      rule: 0,
      extra: false,
      action: action('block'),
      first: true,
      uid: 0,
      gid: 0,
      comm: 'acts',
      program: '/bin/acts',
      parentProgram: '/bin/acts',
      subject: '/bin/denied',
      subjectIsPath: true,
      cut: false,
      address: null,
      socketCookie: 0n,
      args: ['/bin/acts', 'run', '/bin/denied', 'one', 'two', ',', 'wait'],
      parentTgid: running.child.pid,
    });
    expect(sample!.tgid).toBe(sample!.tid);
    expect(sample!.tgid).not.toBe(running.child.pid);
    expect(sample!.capabilities & (1n << BigInt(CAPABILITIES.indexOf('sys_admin')))).not.toBe(0n);
  });

  it('first violation - each rule has its sample, and the bucket limits a flood', async () => {
    const names = ['a', 'b', 'c'];
    for (const name of names) writeFileSync(container.image(`/etc/${name}`), '');
    const address = (last: number): Rules[0] => ({
      name: `net-${last}`,
      action: 'audit',
      network: { cidrs: [`127.9.0.${last}/32`], operations: ['send'] },
    });
    pod.apply({ rules: [1, 2, 3].map(address) });
    const sends = (last: number, times: number) => Array<string>(times).fill(`send,udp,127.9.0.${last},100`);
    await container.run(['/bin/net-ops', ...sends(1, 100), ...sends(2, 1), ...sends(3, 1)]);
    expect(pod.counts()).toEqual({ 'net-1': 100, 'net-2': 1, 'net-3': 1 });
    const samples = samplesOf('send');
    expect(samples.filter(({ first }) => first).map(({ rule }) => rule)).toEqual([0, 1, 2]);
    expect(samples.length).toBeGreaterThan(3);
    expect(samples.length).toBeLessThan(100);
  });

  it('addresses - address, port, protocol, family and cookie, IPv4 in IPv6 as IPv4', async () => {
    pod.apply({
      rules: [
        { name: 'far', action: 'block', network: { cidrs: ['127.9.0.0/16', 'fd00::/8'] } },
        { name: 'raw', action: 'block', socket: { families: ['inet'], types: ['raw'] } },
      ],
    });
    const words = [
      'connect,tcp,127.9.0.1,443',
      'send,udp,::ffff:127.9.0.2,53',
      'connect,udp,fd00::1,80',
      'socket,2,3,1',
    ];
    await container.run(['/bin/net-ops', ...words]);
    const samples = rig.takeSamples().filter((sample) => sample.pod === pod.uid);
    expect(
      samples.map(({ op, address, port, protocol, family, value }) => [
        ...[OPERATIONS[op], address, port, protocol, family, value],
      ]),
    ).toEqual([
      ['connect', '127.9.0.1', 443, 6, 2, 0n],
      ['send', '127.9.0.2', 53, 17, 10, 0n],
      ['connect', 'fd00::1', 80, 17, 10, 0n],
      ['socket', null, 0, 0, 0, socketValue(2, 3, 1)],
    ]);
    for (const { socketCookie, address, args, program, subject } of samples) {
      expect(socketCookie !== 0n).toBe(address !== null);
      expect([args, program, subject]).toEqual([['/bin/net-ops', ...words], '/bin/net-ops', '']);
    }
  });

  it('values - capability, kernel and mount by their numbers, a posture by its cell', async () => {
    pod.apply({
      defaultPosture: { kernel: 'block' },
      rules: [{ name: 'admin', action: 'audit', capabilities: ['sys_admin'] }],
    });
    await container.run(['/bin/kernel-ops', 'hostname', 'bpf']);
    await container.run(['/bin/acts', 'cgroup', 'x']);
    const samples = rig.takeSamples().filter((sample) => sample.pod === pod.uid);
    expect(samples.map(({ op, value, rule, extra, action }) => [OPERATIONS[op], value, rule, extra, action])).toEqual([
      ['capability', BigInt(CAPABILITIES.indexOf('sys_admin')), 0, false, action('audit')],
      ['kernel', BigInt(KERNEL_VALUES.indexOf('bpf')), 9, true, action('block')],
      ['mount', BigInt(MOUNT_VALUES.indexOf('new')), 9, true, action('block')],
    ]);
  });

  it('unix - an abstract name is reported as a name, and a path as a path', async () => {
    pod.apply({
      rules: [
        { name: 'bind', action: 'block', unix: { abstract: ['taken'], directories: ['/tmp'], operations: ['bind'] } },
      ],
    });
    await container.run(['/bin/net-ops', 'ubind,stream,@taken', 'ubind,stream,/tmp/s']);
    expect(samplesOf('unix-bind').map(({ subject, subjectIsPath }) => [subject, subjectIsPath])).toEqual([
      ['taken', false],
      ['/tmp/s', true],
    ]);
  });

  it('text - a long path is cut at its front, arguments at their end', async () => {
    const deep = `/tmp/${Array.from({ length: 12 }, (_, i) => `${i}`.padEnd(40, 'x')).join('/')}`;
    container.install(acts(), `${deep}/program`);
    pod.apply({ rules: [{ name: 'tmp', action: 'block', execute: { directories: ['/tmp'], recursive: true } }] });
    await container.acts('run', `${deep}/program`, 'y'.repeat(300), ',');
    const [sample] = samplesOf('execute');
    expect(sample).toMatchObject({ cut: true, first: true });
    expect(`${deep}/program`.endsWith(sample!.subject)).toBe(true);
    expect(sample!.subject.length).toBeGreaterThan(200);
    expect(sample!.args.join(' ').length).toBeLessThanOrEqual(128);
    expect(sample!.args.slice(0, 2)).toEqual(['/bin/acts', 'run']);
  });

  it('kill - is reported as the action that was carried out', async () => {
    pod.apply({ rules: [{ name: 'bpf', action: 'kill', kernel: { operations: ['bpf'] } }] });
    await container.run(['/bin/kernel-ops', 'bpf']);
    expect(samplesOf('kernel').map(({ action }) => action)).toEqual([action('kill')]);
    rig.object.maps.pods.set(pod.uid, { ...pod.subject(), auditUntilNs: 0xffff_ffff_ffff_ffffn });
    await container.run(['/bin/kernel-ops', 'bpf']);
    expect(samplesOf('kernel').map(({ action }) => action)).toEqual([action('audit')]);
  });
});
