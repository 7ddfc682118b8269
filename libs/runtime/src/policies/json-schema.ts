/** JSON Schema of a policy's `spec`, for editors. Generated on demand. */
import { runtimePolicy } from '@bailiff/policy';
import * as z from 'zod';

/**
 * JSON Schema (draft 2020-12) of the input: fields with defaults are optional. Rules between fields
 * (contradictions, allow without posture) are only in the parser.
 */
export function runtimePolicyJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(runtimePolicy, { io: 'input' }), title: 'RuntimePolicy' };
}
