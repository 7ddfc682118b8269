/** Which pods a person asks about. Pure. */
export interface PodSelector {
  /** As the person wrote it. */
  text: string;
  namespace: string | null;
  name: string | null;
  uid: string | null;
}

export interface PodLike {
  namespace: string;
  name: string;
  uid: string;
}

/** Whether a selector selects a pod. */
export function matchesPod(selector: PodSelector, pod: PodLike | null): boolean {
  if (!pod) return false;
  if (selector.namespace !== null && pod.namespace !== selector.namespace) return false;
  if (selector.uid !== null) return pod.uid === selector.uid;
  return selector.name === null || pod.name === selector.name;
}

/** The parts of a selector that a subject filter can express. */
export function subjectParts(selector: PodSelector | null, namespace?: string): { namespace?: string; pod?: string } {
  const within = selector?.namespace ?? namespace;
  return {
    ...(within ? { namespace: within } : {}),
    ...(selector?.name ? { pod: selector.name } : {}),
  };
}
