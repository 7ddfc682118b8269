/** The reference to a pod in files of the state directory: of bindings and of accounts. */
import { cutTexts, MAX_TEXT } from '@bailiff/schemas';
import * as z from 'zod';

const ref = z.object({
  uid: z.string(),
  namespace: z.string(),
  name: z.string(),
  serviceAccount: z.string(),
  ownerKind: z.string(),
  ownerName: z.string(),
  ownerUid: z.string(),
});

/** An earlier collector may have stored a text that is too long for a frame. */
export const storedPodRef = ref.transform((stored) => cutTexts(stored, MAX_TEXT.PodRef));
