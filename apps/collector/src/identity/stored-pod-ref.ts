/** The reference to a pod in files of the state directory: of bindings and of accounts. */
import * as z from 'zod';

export const storedPodRef = z.object({
  uid: z.string(),
  namespace: z.string(),
  name: z.string(),
  serviceAccount: z.string(),
  ownerKind: z.string(),
  ownerName: z.string(),
  ownerUid: z.string(),
});
