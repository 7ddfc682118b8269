import { parseMac } from '@bailiff/bpf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checksum, ipv4Bytes, ipv6Bytes } from '../frames.ts';
import {
  arpFrame,
  arpTail,
  neighbourAdvertFrame,
  neighbourSolicitFrame,
  packFrames,
  udp4Frame,
  udp6Frame,
} from './frames.ts';
import { ATTACK_VECTORS, type Party, planAttack } from './plan.ts';

const link = { fromMac: '02:00:00:00:00:0a', toMac: '02:00:00:00:00:0b' };
const marker = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

/** The one's complement sum including a correct checksum is all ones. */
const sumsUp = (...parts: Buffer[]) => checksum(Buffer.concat(parts)) === 0;
const pseudo6 = (frame: Buffer, length: number, next: number) =>
  Buffer.concat([frame.subarray(22, 54), Buffer.from([0, 0, length >> 8, length & 255, 0, 0, 0, next])]);

describe('frames', () => {
  it.each([
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['fd00:10:244::2', 'fd000010024400000000000000000002'],
    ['fd00:10:244:1::', 'fd000010024400010000000000000000'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
  ])('addresses - %s', (text, hex) => {
    expect(ipv6Bytes(text).toString('hex')).toBe(hex);
  });

  it.each(['1.2.3', 'fe80::1%eth0', 'x'])('addresses - "%s" is refused', (text) => {
    expect(() => ipv6Bytes(text)).toThrow();
    expect(() => ipv4Bytes(text)).toThrow();
    expect(() => parseMac(text)).toThrow();
  });

  it('checksum - the example of RFC 1071', () => {
    expect(checksum(Buffer.from('0001f203f4f5f6f7', 'hex'))).toBe(~0xddf2 & 0xffff);
  });

  it('udp - both checksums are valid and the payload is the marker, for any marker and address', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 2, maxLength: 32 }), fc.nat(255), fc.nat(255), (bytes, a, b) => {
        const text = Buffer.from(bytes);
        const four = udp4Frame({ ...link, from: `10.244.0.${a}`, to: `10.244.1.${b}` }, text);
        const length = 8 + text.length;
        expect(four.readUInt16BE(12)).toBe(0x0800);
        expect(sumsUp(four.subarray(14, 34))).toBe(true);
        const pseudo4 = Buffer.concat([four.subarray(26, 34), Buffer.from([0, 17, 0, length])]);
        expect(sumsUp(pseudo4, four.subarray(34))).toBe(true);
        expect(four.subarray(42)).toEqual(text);
        const six = udp6Frame({ ...link, from: `fd00::${a}`, to: `fd00::${b}` }, text);
        expect(sumsUp(pseudo6(six, length, 17), six.subarray(54))).toBe(true);
        expect(six.subarray(62)).toEqual(text);
      }),
    );
  });

  it('arp - claims one address for the own hardware address', () => {
    const claim = { ...link, from: '10.244.0.1', to: '10.244.0.3' };
    const frame = arpFrame(claim, 'reply');
    expect(frame.toString('hex')).toBe(
      '02000000000b02000000000a0806' + '0001080006040002' + '02000000000a0af40001' + '02000000000b0af40003',
    );
    expect(frame.includes(arpTail(claim))).toBe(true);
    expect(arpFrame(claim, 'request').readUInt16BE(20)).toBe(1);
  });

  it('neighbour discovery - valid checksum, hop limit 255, options with the own hardware address', () => {
    const addresses = { ...link, from: 'fd00::a', to: 'fd00::b' };
    for (const [frame, type, option] of [
      [neighbourAdvertFrame(addresses, 'fd00::1'), 136, 2],
      [neighbourSolicitFrame(addresses, 'fd00::1'), 135, 1],
    ] as const) {
      expect(frame[21]).toBe(255);
      expect(frame[54]).toBe(type);
      expect(sumsUp(pseudo6(frame, 32, 58), frame.subarray(54))).toBe(true);
      expect(frame.subarray(78)).toEqual(Buffer.concat([Buffer.from([option, 1]), parseMac(link.fromMac)]));
    }
  });

  it('pack - each frame follows its length', () => {
    expect(packFrames([Buffer.from('ab'), Buffer.from('c')]).toString('hex')).toBe('000261620001' + '63');
  });
});

describe('attack plan', () => {
  const party = (n: number): Party => ({
    uid: `pod-${n}`,
    mac: `02:00:00:00:00:0${n}`,
    ip4: `10.244.0.${n}`,
    ip6: `fd00:10:244::${n}`,
    gatewayMac: '02:00:00:00:00:ff',
    gateway4: '10.244.0.1',
    gateway6: 'fd00:10:244::1',
  });
  const parties = { attacker: party(2), victim: party(3), claimed: party(4) };

  it.each(['bridge', 'ptp'] as const)(
    '%s - all vectors, from the own hardware address, each with an own marker',
    (cni) => {
      const steps = planAttack(cni, parties, [marker, Buffer.from(marker).reverse()]);
      expect(steps.map((step) => step.vector)).toEqual([...ATTACK_VECTORS]);
      for (const step of steps) expect(step.frame.subarray(6, 12)).toEqual(parseMac(parties.attacker.mac));
      expect(new Set(steps.map((step) => step.marker.toString('hex'))).size).toBe(steps.length);
    },
  );

  it('bridge - what lands is the forged frame itself, at the victim', () => {
    for (const step of planAttack('bridge', parties, [marker, marker])) {
      expect(step.witnessUid).toBe('pod-3');
      expect(step.frame.includes(step.marker)).toBe(true);
    }
  });

  it('ptp - after an accepted ARP or ND forgery the node answers to the attacker', () => {
    const steps = planAttack('ptp', parties, [marker, marker]);
    for (const step of steps.filter(({ vector }) => vector === 'arp' || vector === 'nd')) {
      expect(step.witnessUid).toBe('pod-2');
      expect(step.frame.includes(step.marker)).toBe(false);
    }
    expect(steps[0]?.frame.subarray(0, 6)).toEqual(parseMac('02:00:00:00:00:ff'));
  });
});
