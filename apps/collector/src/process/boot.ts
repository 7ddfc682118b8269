/** The id of this boot, and the offset between its clocks. */
import { readFileSync } from 'node:fs';
import { boottimeNs } from '@bailiff/bpf';

export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Wall-clock microseconds at CLOCK_BOOTTIME 0. */
export function bootWallMicros(): number {
  return Date.now() * 1000 - Number(boottimeNs() / 1000n);
}
