// Addresses and sockets: each denial beside allowed ones, the other ways to the same address, and
// all of it without a policy.
import { RUNTIME_EXTRA_CELLS } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Container, Pod } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { expectRows, programPath, type Row } from './operations.ts';

type Rules = NonNullable<RuntimePolicyInput['rules']>;
type NetworkOperation = 'connect' | 'send' | 'bind' | 'listen';

const network = (
  name: string,
  operations: NetworkOperation[],
  cidrs: string[],
  ports: (number | string)[],
): Rules[0] => ({
  name,
  action: 'block',
  network: { operations, cidrs, ports },
});

const RULES: Rules = [
  { name: 'raw', action: 'block', socket: { families: ['inet', 'inet6'], types: ['raw'] } },
  { name: 'packet', action: 'block', socket: { families: ['packet'], protocols: [3] } },
  { name: 'families', action: 'block', socket: { families: ['alg', 'vsock'] } },
  { name: 'sequenced', action: 'block', socket: { types: ['rdm'] } },
  network('far', ['connect', 'send'], ['127.9.0.0/16', 'fd00::/8'], ['100-200']),
  network('own-host', ['connect', 'send'], ['127.0.0.1/32', '::1/128'], [0, 81]),
  network('bind', ['bind'], ['0.0.0.0/0'], ['7000-7010']),
  network('listen', ['listen'], ['0.0.0.0/0'], ['7020-7030']),
];

const REFUSED = 'ECONNREFUSED';
const SOCKETS: readonly Row[] = [
  ['socket,2,3,1', 'ok', 'EPERM'],
  ['socket,10,3,58', 'ok', 'EPERM'],
  ['socket,2,526339,1', 'ok', 'EPERM'], // SOCK_NONBLOCK | SOCK_CLOEXEC
  ['socket,16,3,0', 'ok', 'ok'], // netlink, raw too
  ['socket,2,1,0', 'ok', 'ok'],
  ['socket,17,3,768', 'ok', 'EPERM'], // ETH_P_ALL in network order
  ['socket,17,2,768', 'ok', 'EPERM'],
  ['socket,17,3,8', 'ok', 'ok'], // ETH_P_IP
  ['socket,38,5,0', 'ok', 'EPERM'],
  ['socket,1,4,0', 'ESOCKTNOSUPPORT', 'EPERM'], // SOCK_RDM of any family
  ['uring-socket,2,3,1', 'ok', 'EPERM'],
  ['uring-async-socket,2,3,1', 'ok', 'EPERM'],
  ['uring-socket,2,1,0', 'ok', 'ok'],
];

const DESTINATIONS: readonly Row[] = [
  ['connect,tcp,127.9.0.1,100', REFUSED, 'EPERM'],
  ['connect,tcp,127.9.255.255,200', REFUSED, 'EPERM'],
  ['connect,tcp,127.9.0.1,99', REFUSED, REFUSED],
  ['connect,tcp,127.9.0.1,201', REFUSED, REFUSED],
  ['connect,tcp,127.8.0.1,100', REFUSED, REFUSED],
  ['connect,tcp,::ffff:127.9.0.1,100', REFUSED, 'EPERM'],
  ['connect,tcp,::ffff:127.8.0.1,100', REFUSED, REFUSED],
  ['connect,udp,127.9.0.1,100', 'ok', 'EPERM'],
  ['connect,udp,fd00::1,150', 'ENETUNREACH', 'EPERM'],
  ['connect,udp,fd00::1,250', 'ENETUNREACH', 'ENETUNREACH'],
  ['send,udp,127.9.0.1,150', 'ok', 'EPERM'],
  ['send,udp,127.9.0.1,250', 'ok', 'ok'],
  ['send,udp,::ffff:127.9.0.1,150', 'ok', 'EPERM'],
  ['sendmmsg,udp,127.9.0.1,150', 'ok', 'EPERM'],
  ['sendmmsg,udp,127.9.0.1,250', 'ok', 'ok'],
  ['sendunspec,udp,127.9.0.1,150', 'ok', 'EPERM'],
  ['sendunspec,udp,127.9.0.1,250', 'ok', 'ok'],
  // UDP over IPv6 ignores such an address, unless a thread makes the socket one of IPv4 during the call
  ['sendunspec6,udp,127.9.0.1,150', 'EDESTADDRREQ', 'EPERM'],
  ['sendunspec6,udp,127.9.0.1,250', 'EDESTADDRREQ', 'EDESTADDRREQ'],
  ['fastopen,tcp,127.9.0.1,150', REFUSED, 'EPERM'],
  ['fastopen,tcp,127.9.0.1,250', REFUSED, REFUSED],
  ['reconnect,udp,127.9.0.1,150', 'ok', 'EPERM'],
  ['reconnect,udp,127.9.0.1,250', 'ok', 'ok'],
  ['uring-connect,tcp,127.9.0.1,150', REFUSED, 'EPERM'],
  ['uring-async-connect,tcp,127.9.0.1,150', REFUSED, 'EPERM'],
  ['uring-async-connect,tcp,127.9.0.1,250', REFUSED, REFUSED],
  ['uring-send,udp,127.9.0.1,150', 'ok', 'EPERM'],
  ['uring-async-send,udp,127.9.0.1,150', 'ok', 'EPERM'],
  ['uring-async-send,udp,127.9.0.1,250', 'ok', 'ok'],
];

const OWN_HOST: readonly Row[] = [
  ['connect,tcp,0.0.0.0,81', REFUSED, 'EPERM'],
  ['connect,tcp,0.0.0.0,80', REFUSED, REFUSED],
  ['connect,tcp,::,81', REFUSED, 'EPERM'],
  ['connect,tcp,::,80', REFUSED, REFUSED],
  ['connect,udp,::ffff:0.0.0.0,81', 'ok', 'EPERM'],
  ['send,udp,0.0.0.0,81', 'ok', 'EPERM'],
  ['connect,tcp,127.0.0.2,81', REFUSED, REFUSED],
  ['send,l2tp,::1,81', 'ok', 'EPERM'],
  ['sendunspec,l2tp,::1,81', 'ok', 'EPERM'],
  ['sendunspec,l2tp,127.0.0.1,81', 'ok', 'EPERM'],
  // L2TP has no ports: whatever is in its place, it is port 0
  ['send,l2tp,127.0.0.1,53', 'ok', 'EPERM'],
  ['send,l2tp,::1,53', 'ok', 'EPERM'],
  ['send,l2tp,127.9.0.1,150', 'ok', 'ok'],
];

const OWN_ADDRESS: readonly Row[] = [
  ['bind,tcp,127.0.0.1,7005', 'ok', 'EPERM'],
  ['bind,tcp,127.0.0.1,7015', 'ok', 'ok'],
  ['bind,tcp,::,7005', 'ok', 'EPERM'], // accepts IPv4 as well
  ['bind,tcp,::1,7005', 'ok', 'ok'],
  ['listen,tcp,127.0.0.1,7025', 'ok', 'EPERM'],
  ['listen,tcp,::,7025', 'ok', 'EPERM'],
  ['listen,tcp,::1,7025', 'ok', 'ok'],
  ['listen,tcp,::,7035', 'ok', 'ok'],
  ['listenunbound,tcp,127.0.0.1,40123', 'ok', 'EPERM'], // a port that the program chose without a bind
  ['listenonly,tcp,::,40123', 'ok', 'EPERM'], // another thread could make it accept IPv4 during the call
  ['listenunbound,tcp,::1,40123', 'ok', 'EPERM'], // not bound to ::1 either
  ['listen,mptcp,127.0.0.1,7025', 'ok', 'EPERM'],
  ['listen,mptcp,127.0.0.1,7035', 'ok', 'ok'],
];

const ROWS = [...SOCKETS, ...DESTINATIONS, ...OWN_HOST, ...OWN_ADDRESS];
/**
 * sendmmsg reports the failure of its second message only at the next call, which is refused once
 * more.
 */
const AGAIN = 1;
const denied = (rows: readonly Row[]): number => rows.filter(([, , guarded]) => guarded === 'EPERM').length;

/** Names of the cells in Pod.counts(). */
const UNRESOLVED = { audit: `extra-${RUNTIME_EXTRA_CELLS - 2}`, block: `extra-${RUNTIME_EXTRA_CELLS - 1}` };

const rig = useRig();

describe('network', () => {
  let pod: Pod;
  let container: Container;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
  });

  it('control - without a policy every socket is created and every address reached', async () => {
    await expectRows(container, 'net-ops', ROWS, 'free');
  });

  it('block - the named sockets and addresses are refused by every way to them, their neighbours pass', async () => {
    pod.apply({ rules: RULES });
    await expectRows(container, 'net-ops', ROWS, 'guarded');
    expect(pod.counts()).toEqual({
      raw: 5,
      packet: 2,
      families: 1,
      sequenced: 1,
      far: denied(DESTINATIONS) + AGAIN,
      'own-host': denied(OWN_HOST),
      bind: 2,
      listen: 6,
    });
  });

  it('audit - passes and is counted', async () => {
    pod.apply({
      rules: [{ name: 'seen', action: 'audit', network: { cidrs: ['127.9.0.0/16'], operations: ['connect'] } }],
    });
    const operation = 'connect,tcp,127.9.0.1,100';
    await expectRows(container, 'net-ops', [[operation, REFUSED, REFUSED]], 'guarded');
    expect(pod.counts()).toEqual({ seen: 1 });
  });

  it('kill - the first such connection ends the task', async () => {
    pod.apply({
      rules: [{ name: 'kill', action: 'kill', network: { cidrs: ['127.9.0.1/32'], operations: ['send'] } }],
    });
    const words = ['/bin/net-ops', 'send,udp,127.9.0.2,100', 'send,udp,127.9.0.1,100', 'send,udp,127.9.0.3,100'];
    expect(await container.run(words)).toEqual(['send,udp,127.9.0.2,100 ok', 'exit SIGKILL']);
    expect(pod.counts()).toEqual({ kill: 1 });
  });

  it('posture - a socket or address that no rule allows is refused', async () => {
    pod.apply({
      defaultPosture: { network: 'block' },
      rules: [{ name: 'fine', action: 'allow', network: { cidrs: ['127.0.0.0/8'], protocols: ['tcp'], ports: [100] } }],
    });
    const rows: readonly Row[] = [
      ['connect,tcp,127.9.0.1,100', '', REFUSED],
      ['connect,tcp,127.9.0.1,101', '', 'EPERM'],
      ['send,udp,127.9.0.1,100', '', 'EPERM'],
      ['socket,2,3,1', '', 'EPERM'],
    ];
    await expectRows(container, 'net-ops', rows, 'guarded');
  });
});

describe('sctp', () => {
  it('associations - by a list of addresses and by a first send, and a list to bind to, are refused where named', async () => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    const rows: readonly Row[] = [
      ['connectx,1,127.9.0.1,150', REFUSED, 'EPERM'],
      ['connectx,1,127.9.0.1,250', REFUSED, REFUSED],
      ['implicit,5,127.9.0.1,150', 'ok', 'EPERM'],
      ['implicit,5,127.9.0.1,250', 'ok', 'ok'],
      ['dstaddr,5,127.9.0.1,150', 'ok', 'EPERM'],
      ['dstaddr,5,127.7.0.1,150', 'ok', 'ok'],
      ['dstaddr,5,127.9.0.1,250', 'ok', 'ok'],
      ['bindx,1,127.0.0.1,7005', 'ok', 'EPERM'],
      ['bindx,1,127.0.0.1,7015', 'ok', 'ok'],
    ];
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({
      rules: [
        network('peers', ['connect'], ['127.9.0.0/16'], ['100-200']),
        network('bind', ['bind'], ['127.0.0.0/8'], ['7000-7010']),
      ],
    });
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ peers: 3, bind: 1 });
  });

  it('sendmmsg - an address that the kernel asks no hook about is refused as unresolved, and counted', async () => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    const rows: readonly Row[] = [
      ['hidden,5,127.9.0.1,150', 'ok', 'EPERM'],
      ['implicit,5,127.7.0.1,150', 'ok', 'ok'],
    ];
    await expectRows(container, 'net-ops', rows, 'free');
    const rules = [network('peers', ['connect'], ['127.9.0.0/16'], ['100-200'])];
    pod.apply({ rules });
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ [UNRESOLVED.block]: 1 });
    pod.apply({ rules, mode: 'audit' });
    await expectRows(container, 'net-ops', rows, 'free');
    expect(pod.counts()).toEqual({ [UNRESOLVED.audit]: 1 });
  });
});

describe('counts', () => {
  const seen = (operations: NetworkOperation[]): Rules => [
    { name: 'seen', action: 'audit', network: { operations, cidrs: ['127.9.0.0/16'] } },
  ];
  let pod: Pod;
  let container: Container;
  beforeEach(() => {
    pod = rig.pod();
    container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
  });

  it('sendmmsg - each of ten messages to one address counts once, beside messages to others', async () => {
    const rows: readonly Row[] = [
      ['batch,udp,127.9.0.1,150', 'ok', 'ok'],
      ['batch,udp,::ffff:127.9.0.1,150', 'ok', 'ok'],
      ['batch,udp,127.8.0.1,150', 'ok', 'ok'],
      ['send,udp,127.9.0.1,150', 'ok', 'ok'],
    ];
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({ rules: seen(['send']) });
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ seen: 21 });
  });

  it('connect - one that the kernel repeats for io_uring counts once', async () => {
    const rows: readonly Row[] = ['uring-connect', 'uring-async-connect', 'connect'].map((how) => [
      `${how},tcp,127.9.0.1,100`,
      REFUSED,
      REFUSED,
    ]);
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({ rules: seen(['connect']) });
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ seen: 3 });
  });
});

describe('protocols', () => {
  it('smc - a stream over SMC by a socket of the internet family is TCP to a rule', async (context) => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    const rows: readonly Row[] = [
      ['connect,smc,127.9.0.1,150', REFUSED, 'EPERM'],
      ['connect,smc,127.9.0.1,250', REFUSED, REFUSED],
    ];
    const [made = ''] = await container.run(['/bin/net-ops', 'socket,2,1,256']);
    if (!made.endsWith(' ok')) context.skip(`optional: this kernel makes no such socket (${made})`);
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({
      rules: [
        { name: 'tcp', action: 'block', network: { cidrs: ['127.9.0.0/16'], ports: ['100-200'], protocols: ['tcp'] } },
      ],
    });
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ tcp: 1 });
  });
});

describe('binding with the family of another protocol', () => {
  const rules = [
    network('bind', ['bind'], ['0.0.0.0/0'], ['7000-7010']),
    network('raw', ['bind'], ['127.9.0.0/16', '0.0.0.0/32'], [0]),
  ];
  const made = () => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    return { pod, container };
  };

  it('internet - is judged by the address that the protocol reads', async () => {
    const { pod, container } = made();
    const rows: readonly Row[] = [
      ['bindas,tcp,0.0.0.0,7005,0', 'ok', 'EPERM'],
      ['bindas,tcp,0.0.0.0,7015,0', 'ok', 'ok'],
      // IPv6 rejects such an address, unless a thread makes the socket one of IPv4 during the call
      ['bindas6,udp,0.0.0.0,7005,0', 'EAFNOSUPPORT', 'EPERM'],
      ['bindas6,udp,0.0.0.0,7015,0', 'EAFNOSUPPORT', 'EAFNOSUPPORT'],
      // raw sockets of IPv4 read no family
      ...[0, 1, 2, 10].flatMap((family): Row[] => [
        [`bindas,raw,127.9.0.1,7005,${family}`, 'ok', 'EPERM'],
        [`bindas,raw,127.8.0.1,7005,${family}`, 'ok', 'ok'],
      ]),
      ['bind,raw,0.0.0.0,0', 'ok', 'EPERM'],
      ['bind,raw,::,0', 'ok', 'ok'], // accepts no IPv4
    ];
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({ rules });
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ bind: 2, raw: 5 });
  });

  it.for([
    ['af-smc', 'socket,43,1,0'],
    ['smc', 'socket,2,1,256'],
  ] as const)('%s - likewise, and :: accepts IPv4 too', async ([proto, creation], context) => {
    const { pod, container } = made();
    const [first = ''] = await container.run(['/bin/net-ops', creation]);
    if (!first.endsWith(' ok')) context.skip(`optional: this kernel makes no such socket (${first})`);
    const rows: readonly Row[] = [
      [`bindas,${proto},0.0.0.0,7005,0`, 'ok', 'EPERM'],
      [`bindas,${proto},0.0.0.0,7015,0`, 'ok', 'ok'],
      [`bind,${proto},::,7005`, 'ok', 'EPERM'],
      [`bind,${proto},::,7015`, 'ok', 'ok'],
      [`bind,${proto},::1,7005`, 'ok', 'ok'],
    ];
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({ rules });
    await expectRows(container, 'net-ops', rows, 'guarded');
    expect(pod.counts()).toEqual({ bind: 2 });
  });
});

describe('listening by SMC', () => {
  const rows = (proto: string): Row[] => [
    // The hook sees neither address nor port, so a denial of any port matches.
    [`listen,${proto},127.0.0.1,7025`, 'ok', 'EPERM'],
    [`listen,${proto},::1,7035`, 'ok', 'EPERM'],
    [`bind,${proto},127.0.0.1,7025`, 'ok', 'ok'],
    ['listen,tcp,127.0.0.1,7035', 'ok', 'ok'],
  ];
  it.for([
    ['af-smc', 'socket,43,1,0'],
    ['smc', 'socket,2,1,256'],
  ] as const)('%s - is refused where a port is', async ([proto, creation], context) => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    const [made = ''] = await container.run(['/bin/net-ops', creation]);
    if (!made.endsWith(' ok')) context.skip(`optional: this kernel makes no such socket (${made})`);
    await expectRows(container, 'net-ops', rows(proto), 'free');
    pod.apply({ rules: [network('other', ['connect'], ['0.0.0.0/0'], [7025])] });
    await expectRows(container, 'net-ops', rows(proto), 'free');
    pod.apply({ rules: [network('listen', ['listen'], ['0.0.0.0/0'], ['7020-7030'])] });
    await expectRows(container, 'net-ops', rows(proto), 'guarded');
    expect(pod.counts()).toEqual({ listen: 2 });
  });
});

describe('sockets', () => {
  it('makers - the creator of a raw or packet socket is found by its cookie, also without a policy', async () => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    const lines = await container.run(['/bin/net-ops', 'cookie,17,3,768', 'cookie,2,3,1', 'cookie,2,1,0']);
    const [packet, raw, stream] = lines.map((line) => rig.object.maps.socketMaker(BigInt(line.split(' ')[1] ?? 0)));
    const maker = { pod: pod.uid, uid: 0, comm: 'net-ops', program: '/bin/net-ops' };
    expect(packet).toMatchObject({ ...maker, family: 17, type: 3, protocol: 3 });
    expect(raw).toMatchObject({ ...maker, family: 2, type: 3, protocol: 1, tgid: packet?.tgid });
    expect(stream).toBeUndefined();
  });
});

describe('unix', () => {
  it('peer - is judged by its bound name, whatever name leads to it', async () => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    const peers = ['stream,@secret', 'stream,@open', 'seqpacket,@order', 'dgram,@note', 'dgram,@line'];
    const paths = ['stream,/tmp/secret', 'stream,/tmp/open', 'dgram,/tmp/log'];
    const servers = [...peers, ...paths].map((peer) => ({
      operation: `serve,${peer}`,
      running: container.start(['/bin/net-ops', `serve,${peer}`]),
    }));
    for (const { operation, running } of servers) await running.line(`${operation} ok`);
    const rows: readonly Row[] = [
      ['uconnect,stream,@secret', 'ok', 'EPERM'],
      ['uconnect,stream,@open', 'ok', 'ok'],
      ['uconnect,seqpacket,@order', 'ok', 'EPERM'],
      ['usend,dgram,@note', 'ok', 'EPERM'],
      ['usend,dgram,@line', 'ok', 'ok'],
      ['uconnect,stream,/tmp/secret', 'ok', 'EPERM'],
      ['uconnect,stream,/proc/self/root/tmp/../tmp/secret', 'ok', 'EPERM'],
      ['uconnect,stream,/tmp/open', 'ok', 'ok'],
      ['usend,dgram,/tmp/log', 'ok', 'EPERM'],
      ['ubind,stream,@taken', 'ok', 'EPERM'],
      ['ubind,stream,@taken2', 'ok', 'ok'],
      ['ubind,stream,/volume/a', 'ok', 'EADDRINUSE'],
      ['ubind,stream,/tmp/b', 'ok', 'EADDRINUSE'],
    ];
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({
      rules: [
        { name: 'names', action: 'block', unix: { abstract: ['secret', 'order', 'note'] } },
        { name: 'paths', action: 'block', unix: { paths: ['/tmp/secret', '/tmp/log'] } },
        {
          name: 'bind',
          action: 'block',
          unix: { abstract: ['taken'], directories: ['/volume'], operations: ['bind'] },
        },
      ],
    });
    await expectRows(container, 'net-ops', rows, 'guarded');
    const fresh: readonly Row[] = [
      ['ubind,stream,/volume/c', '', 'EPERM'],
      ['ubind,stream,/tmp/c', '', 'ok'],
    ];
    await expectRows(container, 'net-ops', fresh, 'guarded');
    expect(pod.counts()).toEqual({ names: 3, paths: 3, bind: 2 });
  });

  it('posture - a name that no rule allows is refused, also the abstract one of one zero byte', async () => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(programPath('net-ops'), '/bin/net-ops');
    const rows: readonly Row[] = [
      ['ubind,stream,@', 'ok', 'EPERM'],
      ['ubind,stream,@other', 'ok', 'EPERM'],
      ['ubind,stream,@fine', 'ok', 'ok'],
    ];
    await expectRows(container, 'net-ops', rows, 'free');
    pod.apply({
      defaultPosture: { file: 'block' },
      rules: [
        { name: 'files', action: 'allow', file: { directories: ['/'], recursive: true } },
        { name: 'fine', action: 'allow', unix: { abstract: ['fine'] } },
      ],
    });
    await expectRows(container, 'net-ops', rows, 'guarded');
  });
});
