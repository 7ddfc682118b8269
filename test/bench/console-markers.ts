/** A pod that violates without pause, and verdicts: how long until the page shows what was published. */
import { type Bus, FramePublisher, publishOnce, verdictSubject, violationSubject } from '@bailiff/bus';
import { encodeVerdict, encodeViolationFrame } from '@bailiff/schemas';
import { sampleVerdict } from '@bailiff/schemas/testing';
import type { Page } from 'playwright-core';
import type { Node } from './correlator-throughput.ts';

/** More than any other pod has. */
const MARKER_PACKETS = 1_000_000;

/** In the page: when it first showed a count of the pod, and a verdict. */
export const WATCH = (pod: string) => `{
  globalThis.counts = [];
  globalThis.verdicts = {};
  const look = () => {
    const cells = [...document.querySelectorAll('table[aria-label^="Pods with"] tbody tr')]
      .find((row) => row.textContent.includes(${JSON.stringify(pod)}))?.querySelectorAll('td');
    const count = Number(cells?.[1]?.textContent ?? 0);
    if (count !== (globalThis.counts.at(-1)?.count ?? 0)) globalThis.counts.push({ count, atMs: Date.now() });
    for (const link of document.querySelectorAll('table[aria-label="Verdicts"] a'))
      globalThis.verdicts[link.textContent] ??= Date.now();
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}`;

export interface Lateness {
  countsMs: number[];
  verdictsMs: number[];
  /** Markers and verdicts that the page did not show until the end. */
  missing: number;
}

export class Markers {
  readonly #bus: Bus;
  readonly #node: Node;
  readonly #publisher: FramePublisher;
  #total = 0;
  #verdicts = 0;
  readonly #counts: { total: number; atMs: number }[] = [];
  readonly #verdictAt = new Map<string, number>();

  constructor(bus: Bus, node: Node) {
    this.#bus = bus;
    this.#node = node;
    this.#publisher = new FramePublisher(bus);
  }

  async publish(withVerdict: boolean): Promise<void> {
    const { collector, pods } = this.#node;
    const pod = pods[0] as Node['pods'][0];
    collector.spoof(pod, MARKER_PACKETS);
    this.#total += MARKER_PACKETS;
    const frame = collector.flush(Date.now() * 1000);
    if (!frame) throw new Error('no frame');
    const payload = encodeViolationFrame(frame);
    this.#counts.push({ total: this.#total, atMs: Date.now() });
    const msgId = `marker-${this.#total}`;
    const sent: Promise<unknown>[] = [
      this.#publisher.publish(violationSubject(frame.nodeName, 'spoof'), payload, { msgId }),
    ];
    if (withVerdict) {
      this.#verdicts += 1;
      const id = this.#verdicts.toString(16).padStart(10, '0');
      const verdict = sampleVerdict({ verdictId: id + '0'.repeat(22), triggeredAt: Date.now() * 1000, pod });
      this.#verdictAt.set(id, Date.now());
      sent.push(publishOnce(this.#bus, verdictSubject(verdict), encodeVerdict(verdict)));
    }
    await Promise.all(sent);
  }

  /** Of what was published since the last call. */
  async late(page: Page): Promise<Lateness> {
    const shown = await page.evaluate<{ count: number; atMs: number }[]>('globalThis.counts.splice(0)');
    const verdicts = await page.evaluate<Record<string, number>>('globalThis.verdicts');
    const counts = this.#counts.splice(0);
    const countsMs = counts.flatMap(({ total, atMs }) => {
      const first = shown.find(({ count }) => count >= total);
      return first ? first.atMs - atMs : [];
    });
    const published = [...this.#verdictAt];
    this.#verdictAt.clear();
    const verdictsMs = published.flatMap(([id, atMs]) => (verdicts[id] === undefined ? [] : verdicts[id] - atMs));
    const missing = counts.length - countsMs.length + published.length - verdictsMs.length;
    return { countsMs, verdictsMs, missing };
  }

  close(): void {
    this.#publisher.close();
  }
}
