export {
  type Claims,
  type MeasuredRendition,
  type ResultToVerify,
  type UploadedRendition,
  type Verdict,
  verifyResult,
} from "./verify-result.ts";
export { type Clip } from "./expected-timing.ts";
export { type InputVerdict, judgeInput, kindOfWork, sourceShape } from "./work.ts";
