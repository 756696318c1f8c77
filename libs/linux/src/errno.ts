import { getSystemErrorMap } from 'node:util'

let map: ReturnType<typeof getSystemErrorMap> | undefined

// Node makes a new map at each call.
function known() {
  map ??= getSystemErrorMap()
  return map
}

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
    const [code, text] = known().get(-errno) ?? rare[errno] ?? [`errno ${errno}`, 'unknown error']
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
  for (const [name, text] of known().values()) if (name === code) return text
  return code
}

/** The errno name of any thrown value (`ENOENT`), of ours or of Node's; undefined when it has none. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
