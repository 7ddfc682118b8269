/**
 * Shares of container subjects in the counters and subjects of the kernel maps. A pod has a subject for
 * each container that a policy names, and its author chooses the containers. So containers use only a
 * part of the maps, of which a namespace gets a further subject only while more is free than it has. The
 * rest is for the subjects of whole pods. Pure.
 */
import { FairCounts } from '@bailiff/service';

/** Parts of the maps that containers use: the rest holds a subject for each pod of a full node. */
export const CONTAINER_CELLS = 1 / 2;
export const CONTAINER_SUBJECTS = 3 / 4;

interface Part {
  readonly most: number;
  readonly counts: FairCounts;
}
const part = (most: number): Part => ({ most, counts: new FairCounts(most) });

export class ContainerShares {
  readonly #cells: Part;
  readonly #subjects: Part;

  constructor(cells: number, subjects: number) {
    this.#cells = part(Math.floor(cells * CONTAINER_CELLS));
    this.#subjects = part(Math.floor(subjects * CONTAINER_SUBJECTS));
  }

  /** @throws Error if the namespace has its share of subjects */
  addSubject(namespace: string): void {
    if (!this.#subjects.counts.hasRoom(namespace)) throw refusal(namespace, this.#subjects, 'subjects');
    this.#subjects.counts.add(namespace);
  }

  /** @throws Error if the namespace has its share of counters */
  addCells(namespace: string, count: number): void {
    if (this.#cells.counts.roomFor(namespace) < count) throw refusal(namespace, this.#cells, 'counters');
    this.#cells.counts.add(namespace, count);
  }

  /** A subject of an earlier process. */
  adoptSubject(namespace: string): void {
    this.#subjects.counts.add(namespace);
  }

  /** Counters of an earlier process. */
  adoptCells(namespace: string, count: number): void {
    this.#cells.counts.add(namespace, count);
  }

  removeSubject(namespace: string): void {
    this.#subjects.counts.remove(namespace);
  }

  removeCells(namespace: string, count: number): void {
    this.#cells.counts.remove(namespace, count);
  }
}

const refusal = (namespace: string, { most }: Part, what: string): Error =>
  new Error(
    `namespace ${namespace} has its share of the ${most} ${what} for containers: let policies name fewer of its containers, or run fewer of its pods on the node`,
  );
