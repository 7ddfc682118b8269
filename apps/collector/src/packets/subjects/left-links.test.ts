import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, expect, it } from 'vitest';
import { isLeft } from './left-links.ts';

const sysfs = temporaryDirectory();
beforeAll(() => {
  mkdirSync(path.join(sysfs, 'eth0/device'), { recursive: true });
  const types = { lo: 772, eth7: 1, veth1: 1, teql0: 65_535, sl0: 264, ax0: 3, gsm0: 65_534, can0: 280, pimreg: 779 };
  for (const [name, type] of Object.entries(types)) {
    mkdirSync(path.join(sysfs, name));
    writeFileSync(path.join(sysfs, name, 'type'), `${type}\n`);
  }
});

const mac = '02:00:00:00:00:07';
it.each([
  [true, 'a link without a kind and a device', { name: 'eth7' }],
  [true, 'SLIP of a terminal', { name: 'sl0', mac: '' }],
  [true, 'KISS of a terminal', { name: 'ax0', mac: '' }],
  [true, 'a link whose name is not UTF-8', { name: 'eth\uFFFD' }],
  [true, 'GSM of a terminal', { name: 'gsm0', mac: '' }],
  [false, 'CAN of a terminal, which carries no IP', { name: 'can0', mac: '' }],
  [false, 'a tun device', { name: 'gsm0', kind: 'tun', mac: '' }],
  [false, 'the register of a multicast router', { name: 'pimreg', mac: '' }],
  [false, 'a network card', { name: 'eth0' }],
  [false, 'loopback', { name: 'lo', ifindex: 1, mac: '00:00:00:00:00:00' }],
  [false, 'a link with a kind', { name: 'veth1', kind: 'veth' }],
  [false, 'a link that is no Ethernet', { name: 'teql0', mac: '' }],
  [false, 'a link that was renamed or deleted meanwhile', { name: 'gone' }],
])('left links - %s: %s', (expected, _what, link) => {
  expect(isLeft({ ifindex: 7, kind: '', mac, ...link }, sysfs)).toBe(expected);
});
