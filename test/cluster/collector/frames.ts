/** Prepared frames of a pod: a UDP datagram with any source, IPv4 or IPv6. Checksums are right where a receiver would look. */
import { parseAddress, parseMac } from '@bailiff/bpf';

export interface UdpFrame {
  sourceMac: string;
  destinationMac?: string;
  source: string;
  destination: string;
  payload?: string;
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function udpFrame(frame: UdpFrame): Buffer {
  const v6 = frame.source.includes(':');
  const payload = Buffer.from(frame.payload ?? 'bailiff');
  const udp = Buffer.alloc(8 + payload.length);
  udp.writeUInt16BE(40_000, 0);
  udp.writeUInt16BE(9, 2);
  udp.writeUInt16BE(udp.length, 4);
  payload.copy(udp, 8);
  const source = parseAddress(frame.source);
  const destination = parseAddress(frame.destination);
  let ip: Buffer;
  if (v6) {
    ip = Buffer.alloc(40);
    ip[0] = 0x60;
    ip.writeUInt16BE(udp.length, 4);
    ip[6] = 17;
    ip[7] = 64;
    source.copy(ip, 8);
    destination.copy(ip, 24);
  } else {
    ip = Buffer.alloc(20);
    ip[0] = 0x45;
    ip.writeUInt16BE(20 + udp.length, 2);
    ip[8] = 64;
    ip[9] = 17;
    source.copy(ip, 12, 12);
    destination.copy(ip, 16, 12);
    ip.writeUInt16BE(checksum(ip), 10);
  }
  const ethernet = Buffer.concat([
    parseMac(frame.destinationMac ?? '02:00:00:00:00:01'),
    parseMac(frame.sourceMac),
    Buffer.from(v6 ? '86dd' : '0800', 'hex'),
  ]);
  return Buffer.concat([ethernet, ip, udp]);
}
