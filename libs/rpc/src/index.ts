export { type Admission, type Admit, type Caller, type CallTarget, plainly } from './admission.ts'
export type { AnswerRoom } from './answer-rooms.ts'
export { type Call, type CallOptions, makeCall, requireNamespace, withCall } from './call.ts'
export { type ConnectOptions, callRaw, clientOf, connect } from './client.ts'
export { encoded } from './codec.ts'
export {
  aborted,
  alreadyExists,
  canceled,
  dataLoss,
  deadlineExceeded,
  type ErrorClass,
  failedPrecondition,
  hasCode,
  internal,
  invalidArgument,
  nodeAway,
  notFound,
  outOfRange,
  permissionDenied,
  prefixed,
  RpcError,
  resourceExhausted,
  status,
  toRpcError,
  unauthenticated,
  unavailable,
  unimplemented,
  unknown,
} from './errors.ts'
export { freeMemory } from './free-memory.ts'
export { maxIdentifierLength, validateIdentifier } from './identifier.ts'
export { type LiveIdentity, watchTlsIdentity } from './live-identity.ts'
export { inOwnMemory } from './own-memory.ts'
export {
  type CallObserver,
  type CallRecord,
  createRpcServer,
  type ListenOptions,
  type RpcServer,
  type RpcServerOptions,
} from './server.ts'
export {
  keepsNoRequest,
  type MethodDefinition,
  methodsOf,
  type ServiceDefinition,
  type ServiceOf,
  type WireType,
} from './service.ts'
export { decodedAnswer, storedAnswer } from './stored-answer.ts'
export { readTlsIdentity, type TlsIdentity } from './tls.ts'
