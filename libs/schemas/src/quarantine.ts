/** What the responder puts under `bailiff_quarantine/<node>`: the node's whole list. A collector puts it into kernel maps. */
import * as z from 'zod';

export const quarantineEntry = z.object({
  podUid: z.string().min(1),
  podNamespace: z.string(),
  podName: z.string(),
  verdictId: z.string(),
  /** ISO time; the kernel ends the quarantine by itself. */
  until: z.string(),
  reason: z.string(),
});
export type QuarantineEntry = z.infer<typeof quarantineEntry>;

export const quarantineList = z.object({
  nodeName: z.string(),
  revision: z.number().int().nonnegative(),
  entries: z.array(quarantineEntry),
});
export type QuarantineList = z.infer<typeof quarantineList>;
