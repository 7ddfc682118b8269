export { boundedOcsf } from './bounded.ts';
export { CLASSES } from './classes.ts';
export {
  clip,
  type Origin,
  omissionEvent,
  originOf,
  type Place,
  type SiemEvent,
  violationEvents,
} from './event.ts';
export { OCSF_VERSIONS, type OcsfVersion } from './ocsf/version.ts';
export { type Rendered, render } from './render.ts';
