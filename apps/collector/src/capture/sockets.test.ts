import { expect, test } from 'vitest';
import { parseSockets } from './sockets.ts';

const INTERNET = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

test('tcp - a listener and a connection, IPv4 and IPv6', () => {
  const four = `${INTERNET}   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n   1: 0200000A:9C40 08080808:01BB 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20\n`;
  expect(parseSockets('tcp', four)).toEqual([
    { protocol: 'tcp', local: '0.0.0.0:8080', remote: '', state: 'listen', inode: 4711 },
    { protocol: 'tcp', local: '10.0.0.2:40000', remote: '8.8.8.8:443', state: 'established', inode: 4712 },
  ]);
  const six = `${INTERNET}   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0\n`;
  expect(parseSockets('tcp6', six)).toEqual([
    { protocol: 'tcp', local: '[::1]:22', remote: '', state: 'listen', inode: 99 },
  ]);
});

test('udp, raw, packet - what has no peer has no state', () => {
  const udp = `${INTERNET}  10: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5 2 0 0\n`;
  expect(parseSockets('udp', udp)).toEqual([{ protocol: 'udp', local: '0.0.0.0:68', remote: '', state: '', inode: 5 }]);
  expect(parseSockets('raw', udp)[0]).toMatchObject({ protocol: 'raw', local: '0.0.0.0:68' });
  const packet =
    'sk               RefCnt Type Proto  Iface R Rmem   User   Inode\nffff8881 3      3    0003   0     1 0      0      777\n';
  expect(parseSockets('packet', packet)).toEqual([
    { protocol: 'packet', local: 'ethertype 0x0003', remote: '', state: '', inode: 777 },
  ]);
});

test('unix - named ones, by path and abstract name; a path may hold blanks', () => {
  const text = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01    11 /run/a b.sock
0000000000000000: 00000003 00000000 00000000 0001 03    12
0000000000000000: 00000002 00000000 00000000 0002 01    13 @name
`;
  expect(parseSockets('unix', text)).toEqual([
    { protocol: 'unix', local: '/run/a b.sock', remote: '', state: 'listen', inode: 11 },
    { protocol: 'unix', local: '@name', remote: '', state: 'unconnected', inode: 13 },
  ]);
});

test('nonsense - is left out', () => {
  expect(parseSockets('tcp', `${INTERNET} garbage\n\n 1: zz:1 2 3\n`)).toEqual([]);
  expect(parseSockets('unix', 'Num\n???\n')).toEqual([]);
});
