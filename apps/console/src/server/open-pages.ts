/**
 * Streams of the page Now. A slow page misses views, instead of having them queued. An open stream is
 * admitted again every KEEP_MS, gets nothing while that is decided, and ends if its scope changed.
 * Bound: MAX_STREAMS, shared by visitors.
 */
import { FairCounts } from '@bailiff/service/fair-counts';
import { type Door, KEEP_MS } from '../access/door.ts';
import type { Lives } from '../live/lives.ts';
import { beginEvents, finish } from './replies.ts';
import { hasRoom, isStill, type ServerReports, tooMany, type Visit } from './visit.ts';

/** Open pages of all visitors. One visitor has half of them at most. */
export const MAX_STREAMS = 128;
/** A comment on an idle stream: the page notices a dead connection. */
const KEEP_ALIVE_MS = 10_000;

export class OpenPages {
  readonly #door: Door;
  readonly #lives: Lives;
  readonly #reports: ServerReports;
  /** By visitor. */
  readonly #streams = new FairCounts(MAX_STREAMS);

  constructor(door: Door, lives: Lives, reports: ServerReports) {
    this.#door = door;
    this.#lives = lives;
    this.#reports = reports;
  }

  get size(): number {
    return this.#streams.size;
  }

  open(visit: Visit): void {
    const { response, guest } = visit;
    if (!hasRoom(this.#streams, guest)) return void tooMany(visit, this.#reports, 'pages are open');
    /** The newest view, while it is not sent: before the head, and while the rights are asked for. */
    let held = '';
    let isHeld = true;
    const write = (text: string) => {
      if (!response.destroyed && !response.writableNeedDrain) response.write(text);
    };
    const release = () => {
      isHeld = false;
      if (held !== '') write(held);
      held = '';
    };
    const stop = this.#lives.subscribe(guest.scope, (json) => {
      if (isHeld) held = `data: ${json}\n\n`;
      else write(`data: ${json}\n\n`);
    });
    if (!stop) return void tooMany(visit, this.#reports, 'visitors with other rights are here');
    this.#streams.add(guest.name);
    visit.keep();
    beginEvents(response);
    release();
    const alive = setInterval(() => isHeld || write(': alive\n\n'), KEEP_ALIVE_MS);
    const check = setInterval(() => {
      if (isHeld) return;
      isHeld = true;
      isStill(this.#door, visit).then(
        (still) => {
          if (still) release();
          // What it does not read would keep its place.
          else if (response.writableNeedDrain) response.destroy();
          else finish(response);
        },
        (error) => {
          this.#reports.onFailed(error);
          response.destroy();
        },
      );
    }, KEEP_MS);
    response.once('close', () => {
      clearInterval(alive);
      clearInterval(check);
      stop();
      this.#streams.remove(guest.name);
    });
  }
}
