/** How many pods the planned lists omit, of which namespaces. Pure. Bounds: the nodes of the plan. */
import type { InstanceStatus } from '@bailiff/schemas';
import { mostOmitted } from './fit.ts';
import type { planNode } from './plan.ts';

type NodePlan = NonNullable<ReturnType<typeof planNode>>;

export class Omissions {
  readonly #byNode = new Map<string, Pick<NodePlan, 'omitted' | 'omittedFrom'>>();

  /** @param plan null: the node has no list any more */
  planned(nodeName: string, plan: NodePlan | null): void {
    if (plan?.omitted === undefined) this.#byNode.delete(nodeName);
    else this.#byNode.set(nodeName, { omitted: plan.omitted, omittedFrom: plan.omittedFrom });
  }

  /** This process plans no list any more. */
  clear(): void {
    this.#byNode.clear();
  }

  get total(): number {
    let total = 0;
    for (const { omitted = 0 } of this.#byNode.values()) total += omitted;
    return total;
  }

  /** For the status of this instance; empty without omitted pods. */
  get status(): Pick<InstanceStatus, 'omittedPods'> {
    const { total } = this;
    return total === 0 ? {} : { omittedPods: { total, nodes: this.#byNode.size, namespaces: this.#namespaces() } };
  }

  /** The namespaces with most omitted pods; those that a full list does not name are missing. */
  #namespaces(): { namespace: string; pods: number }[] {
    const sums = new Map<string, number>();
    for (const { omittedFrom = [] } of this.#byNode.values())
      for (const { namespace, pods } of omittedFrom) sums.set(namespace, (sums.get(namespace) ?? 0) + pods);
    return mostOmitted(sums);
  }
}
