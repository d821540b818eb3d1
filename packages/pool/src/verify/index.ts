export { verifyResult, workedMs } from "./verify-result.ts";
export { judgeInput, kindOfWork } from "./work.ts";
