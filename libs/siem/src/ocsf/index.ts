/** Renders an event as OCSF 1.5 JSON. */
import { compact, type SiemEvent } from '../event.ts';
import type { Json } from './base.ts';
import { ocsfOmission } from './omission.ts';
import { ocsfResponse } from './response.ts';
import { ocsfVerdict } from './verdict.ts';
import { ocsfViolation } from './violation.ts';

export function toOcsf(event: SiemEvent, version: string): Json {
  if (event.kind === 'violation') return compact(ocsfViolation(event, version));
  if (event.kind === 'omission') return compact(ocsfOmission(event, version));
  return compact(event.kind === 'verdict' ? ocsfVerdict(event, version) : ocsfResponse(event, version));
}
