/**
 * The log as pages, for `bailiff evidence copy-log` and monitors: `/checkpoint` and `/tile/<level>/<number>` as in
 * C2SP tlog-tiles, and `/leaves/<index>` with the message of each leaf. Nothing of it is secret: hashes only.
 */
import { type LogReader, TILE_HASHES } from '@bailiff/evidence';
import type { FindPage } from '@bailiff/service';

/** Leaves of a page: 2 MB. */
const MAX_LEAVES = 16_384;

const TILE = /^\/tile\/(\d{1,2})\/((?:x\d{3}\/){0,4}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;
const LEAVES = /^\/leaves\/(0|[1-9]\d{0,14})$/;

export const pagesOf =
  (log: LogReader): FindPage =>
  (path) => {
    if (path === '/checkpoint') return { status: 200, type: 'text/plain; charset=utf-8', body: log.note };
    const from = LEAVES.exec(path)?.[1];
    if (from !== undefined) {
      const lines = log
        .leaves(Number(from), MAX_LEAVES)
        .map(({ stream, created, sequence, hash }) => `${stream} ${created} ${sequence} ${hash.toString('base64')}\n`);
      return { status: 200, type: 'text/plain', body: lines.join('') };
    }
    const [, level, number = '', width] = TILE.exec(path) ?? [];
    if (level === undefined) return null;
    const tile = Number(number.replaceAll(/[x/]/g, ''));
    const hashes = log.tile(Number(level), tile, width === undefined ? TILE_HASHES : Number(width));
    return hashes && { status: 200, type: 'application/octet-stream', body: hashes };
  };
