import { RpcError, resourceExhausted, unknown } from '@flotilla/rpc'

/** What a full disk or a full quota answers. */
const full = new Set(['ENOSPC', 'EDQUOT'])

/**
 * A driver's failure as a caller may read it: a failed system call says what was done and why it failed, without the
 * path, which is nobody's business outside the node and stays in the cause.
 */
export function explained(what: string, error: unknown): unknown {
  if (error instanceof RpcError || !(error instanceof Error)) return error
  if (!('syscall' in error) || !('code' in error) || typeof error.code !== 'string') return error
  const message = `${what}: ${reason(error.message, error.code)}`
  return (full.has(error.code) ? resourceExhausted : unknown)(message, { cause: error })
}

// Node says `ENOENT: no such file or directory, mkdir '/a/b'`, libs/linux `mkdirat 'b': no such file or directory (ENOENT)`.
function reason(message: string, code: string): string {
  const node = new RegExp(`^${code}: (.*?), `).exec(message)?.[1]
  const linux = new RegExp(`: ([^:]*) \\(${code}\\)`).exec(message)?.[1]
  const text = node ?? linux
  return text === undefined ? code : `${text} (${code})`
}
