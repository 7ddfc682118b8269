/**
 * Ordinary traffic between pods: UDP, TCP and ICMP over IPv4 and IPv6, one request at a time,
 * counted by the requesting side.
 */

import { POD_PORT } from '../kubelet/sandbox.ts';
import type { LineProcess } from '../process/lines.ts';
import type { Lab } from '../supervisor/lab.ts';
import { parseReport, type TalkReport } from './json-lines.ts';
import { partyOf } from './run.ts';

/** One request per protocol every 50 ms: 120 packets per second and pair, replies included. */
const INTERVAL_MS = 50;
/**
 * Longer than a round of six requests that all time out after 10 s, so that its counts arrive. Then
 * `finish` kills the process.
 */
const FINISH_TIMEOUT_MS = 75_000;

export class Talk {
  readonly from: string;
  readonly to: string;
  #process: LineProcess;
  #last: TalkReport = { event: 'progress', sent: 0, received: 0, byKind: {} };

  private constructor(from: string, to: string, process: LineProcess) {
    this.from = from;
    this.to = to;
    this.#process = process;
  }

  /** @param rounds 0 = until `finish`. The process ends if either pod stops; `counts` remains. */
  static async start(lab: Lab, from: string, to: string, rounds = 0): Promise<Talk> {
    const { ip4, ip6 } = partyOf(lab, to);
    const command = ['talk', String(POD_PORT), String(rounds), String(INTERVAL_MS), ip4, ip6];
    let talk: Talk | null = null;
    let early: TalkReport | null = null;
    const process = await lab.inPod(from, command, {
      onLine: (line) => {
        early = parseReport<TalkReport>(line);
        if (talk) talk.#last = early;
      },
    });
    talk = new Talk(from, to, process);
    if (early) talk.#last = early;
    return talk;
  }

  /** Counts of complete rounds; open requests are not included. */
  get counts(): TalkReport {
    return this.#last;
  }

  /** Ends the round and returns the final counts. */
  async finish(): Promise<TalkReport> {
    this.#process.closeInput();
    const timer = setTimeout(() => this.#process.child.kill('SIGKILL'), FINISH_TIMEOUT_MS);
    await this.#process.ended;
    clearTimeout(timer);
    return this.#last;
  }
}
