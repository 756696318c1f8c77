import { getSystemErrorMap } from 'node:util'

/** A failed system call: `code` is the errno's name (`ENOENT`), `syscall` the call, `path` what it was asked for. */
export class LinuxError extends Error {
  readonly code: string
  readonly syscall: string
  readonly path: string | undefined

  constructor(code: string, syscall: string, path?: string, detail?: string) {
    const subject = path === undefined ? '' : ` '${path}'`
    super(`${syscall}${subject}: ${detail ?? describe(code)} (${code})`)
    this.name = 'LinuxError'
    this.code = code
    this.syscall = syscall
    this.path = path
  }

  static fromErrno(errno: number, syscall: string, path?: string): LinuxError {
    const [code, text] = getSystemErrorMap().get(-errno) ?? rare[errno] ?? [`errno ${errno}`, 'unknown error']
    return new LinuxError(code, syscall, path, text)
  }
}

// Codes of Linux that libuv's table lacks.
const rare: Record<number, readonly [string, string]> = {
  22: ['EINVAL', 'invalid argument'],
  61: ['ENODATA', 'no data available'],
  117: ['EUCLEAN', 'structure needs cleaning'],
  122: ['EDQUOT', 'disk quota exceeded'],
}

function describe(code: string): string {
  for (const [name, text] of getSystemErrorMap().values()) if (name === code) return text
  return code
}

/** The errno name of any thrown value (`ENOENT`), of ours or of Node's; undefined when it has none. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
