import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { createServer } from 'node:net'

/**
 * Keeps a second process off a directory for as long as this one lives. The lock is an abstract unix socket named after
 * the directory: the kernel drops it with the process, however that ends. Throws when another process has it.
 */
export function lockDirectory(directory: string): Promise<AsyncDisposable> {
  const name = `\0flotilla-${createHash('sha256').update(realpathSync(directory)).digest('hex').slice(0, 32)}`
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        'code' in error && error.code === 'EADDRINUSE'
          ? new Error(`${directory} is in use by another flotilla process`)
          : error,
      ),
    )
    server.listen(name, () => {
      server.unref()
      resolve({ [Symbol.asyncDispose]: () => new Promise<void>((done) => server.close(() => done())) })
    })
  })
}
