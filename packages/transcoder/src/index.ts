export { dialOrchestrator, type Dialled, type DialOptions, fingerprintOf, parseFingerprint } from "./dial.ts";
export { keptGet, type KeptGetOptions } from "./kept-get.ts";
export { register, type Registration, type RegistrationEnd, type RegistrationEvents } from "./registration.ts";
export {
  type Answer,
  createUploader,
  encodeAnswer,
  type Uploader,
  type UploadOrder,
  type UploadOutcome,
} from "./uploader.ts";
