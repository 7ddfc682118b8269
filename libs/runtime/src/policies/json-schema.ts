/** JSON Schema of a policy's `spec`, for editors and, later, the CRD. Made on demand: nothing is kept that could grow stale. */
import { runtimePolicy } from '@bailiff/policy';
import * as z from 'zod';

/**
 * JSON Schema (draft 2020-12) of what is written: defaults are optional. Rules that relate fields (contradictions, allow without posture)
 * are not in it; the parser has them.
 */
export function runtimePolicyJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(runtimePolicy, { io: 'input' }), title: 'RuntimePolicy' };
}
