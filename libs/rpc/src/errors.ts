import { status as grpcStatus, Metadata } from '@grpc/grpc-js'

/** gRPC status codes by name. */
export const status = grpcStatus

/**
 * Error classes and the words that end their messages. Clients written with containerd's Go library strip exactly this
 * suffix and print it again, so a message carries it once (shared behaviour, "Errors").
 */
const classes = {
  invalidArgument: { code: status.INVALID_ARGUMENT, text: 'invalid argument' },
  notFound: { code: status.NOT_FOUND, text: 'not found' },
  alreadyExists: { code: status.ALREADY_EXISTS, text: 'already exists' },
  failedPrecondition: { code: status.FAILED_PRECONDITION, text: 'failed precondition' },
  unavailable: { code: status.UNAVAILABLE, text: 'unavailable' },
  unimplemented: { code: status.UNIMPLEMENTED, text: 'not implemented' },
  aborted: { code: status.ABORTED, text: 'aborted' },
  outOfRange: { code: status.OUT_OF_RANGE, text: 'out of range' },
  resourceExhausted: { code: status.RESOURCE_EXHAUSTED, text: 'resource exhausted' },
  permissionDenied: { code: status.PERMISSION_DENIED, text: 'permission denied' },
  unauthenticated: { code: status.UNAUTHENTICATED, text: 'unauthorized' },
  dataLoss: { code: status.DATA_LOSS, text: 'data loss' },
  internal: { code: status.INTERNAL, text: 'internal' },
  canceled: { code: status.CANCELLED, text: 'context canceled' },
  deadlineExceeded: { code: status.DEADLINE_EXCEEDED, text: 'context deadline exceeded' },
  unknown: { code: status.UNKNOWN, text: '' },
} as const

export type ErrorClass = keyof typeof classes

export interface RpcErrorOptions {
  readonly cause?: unknown
  readonly reason?: string | undefined
}

/** Reason of the UNAVAILABLE of a command to a node that is not there or falls silent. */
export const nodeAway = 'node-away'

/** Metadata of a failed call that carries the error's reason between processes. */
const reasonKey = 'flotilla-reason'

/** An error with a gRPC status code. `message` is what the client reads. */
export class RpcError extends Error {
  readonly code: number
  /** A word for programs of ours where the code says too little and the message is for people; it crosses services. */
  readonly reason: string | undefined

  constructor(code: number, message: string, options: RpcErrorOptions = {}) {
    super(message, options)
    this.name = 'RpcError'
    this.code = code
    this.reason = options.reason
  }
}

function maker(name: ErrorClass) {
  const { code, text } = classes[name]
  const suffix = text === '' ? '' : `: ${text}`
  return (message: string, options?: RpcErrorOptions): RpcError =>
    new RpcError(code, message.endsWith(suffix) || message === text ? message : `${message}${suffix}`, options)
}

// Each makes an error of its class; the class text is appended to the message when it is not there yet.
export const invalidArgument = maker('invalidArgument')
export const notFound = maker('notFound')
export const alreadyExists = maker('alreadyExists')
export const failedPrecondition = maker('failedPrecondition')
export const unavailable = maker('unavailable')
export const unimplemented = maker('unimplemented')
export const aborted = maker('aborted')
export const outOfRange = maker('outOfRange')
export const resourceExhausted = maker('resourceExhausted')
export const permissionDenied = maker('permissionDenied')
export const unauthenticated = maker('unauthenticated')
export const dataLoss = maker('dataLoss')
export const internal = maker('internal')
export const canceled = maker('canceled')
export const deadlineExceeded = maker('deadlineExceeded')
export const unknown = maker('unknown')

/** Whether an error carries this gRPC code (`hasCode(err, status.NOT_FOUND)`). */
export function hasCode(error: unknown, code: number): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/**
 * Any thrown value as an RpcError, for the edge of a server or client: grpc-js errors keep code and details, an abort
 * becomes CANCELLED, everything else is UNKNOWN with its message, as containerd answers.
 */
export function toRpcError(error: unknown): RpcError {
  if (error instanceof RpcError) return error
  if (error instanceof Error) {
    if ('code' in error && typeof error.code === 'number' && error.code >= 0 && error.code <= 16) {
      const details = 'details' in error && typeof error.details === 'string' ? error.details : error.message
      return new RpcError(error.code, details, { cause: error, reason: reasonOf(error) })
    }
    if (error.name === 'AbortError') return canceled(error.message, { cause: error })
    if (error.name === 'TimeoutError') return deadlineExceeded(error.message, { cause: error })
    return new RpcError(status.UNKNOWN, error.message, { cause: error })
  }
  return new RpcError(status.UNKNOWN, String(error))
}

function reasonOf(error: object): string | undefined {
  const found = 'metadata' in error && error.metadata instanceof Metadata ? error.metadata.get(reasonKey)[0] : undefined
  return typeof found === 'string' ? found : undefined
}

/** What a failed call says besides its status, as names and values. */
export function errorFields({ reason }: RpcError): Array<readonly [string, string]> {
  return reason === undefined ? [] : [[reasonKey, reason]]
}

/** Says which step failed, in words put before the error's own; the code stays. */
export async function prefixed<T>(text: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    const { code, message, reason } = toRpcError(error)
    throw new RpcError(code, `${text}${message}`, { cause: error, reason })
  }
}
