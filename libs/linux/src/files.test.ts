import { execFileSync } from 'node:child_process'
import { lstatSync, mkdtempSync, openSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  AT_FDCWD,
  fileType,
  futimens,
  LinuxError,
  lchown,
  lgetxattr,
  llistxattr,
  lremovexattr,
  lsetxattr,
  lstatx,
  makeDevice,
  mkfifo,
  mknod,
  openat,
  openBeneath,
  readlinkat,
  splitDevice,
  symlinkat,
  syncfs,
  utimens,
} from './index.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync('/dev/shm/flotilla-linux-')
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('times', () => {
  it('are set to the nanosecond, also before 1970 and on a symlink itself', () => {
    const [file, link] = [join(dir, 'f'), join(dir, 'l')]
    writeFileSync(file, '')
    symlinkSync('f', link)
    utimens(file, { atime: 1n, mtime: { seconds: 1_700_000_000, nanos: 123_456_789 } })
    utimens(link, { atime: 5n, mtime: -1n })
    expect(lstatSync(file, { bigint: true }).mtimeNs).toBe(1_700_000_000_123_456_789n)
    expect(lstatSync(file, { bigint: true }).atimeNs).toBe(1n)
    expect(lstatSync(link, { bigint: true }).mtimeNs).toBe(-1n)
    expect(lstatx(file)).toMatchObject({
      atime: { seconds: 0, nanos: 1 },
      mtime: { seconds: 1_700_000_000, nanos: 123_456_789 },
    })
    expect(lstatx(link)?.mtime).toEqual({ seconds: -1, nanos: 999_999_999 })
    const fd = openSync(file, 'r+')
    futimens(fd, { atime: 7n, mtime: 8n })
    expect(lstatSync(file, { bigint: true }).mtimeNs).toBe(8n)
  })
})

describe('nodes', () => {
  it('makes FIFOs and devices with wide numbers', () => {
    mkfifo(join(dir, 'fifo'), 0o700)
    expect(lstatSync(join(dir, 'fifo')).isFIFO()).toBe(true)
    const device = makeDevice(4095, 1048575)
    expect(splitDevice(device)).toEqual({ major: 4095, minor: 1048575 })
    mknod(join(dir, 'dev'), fileType.character | 0o600, device)
    expect(execFileSync('stat', ['-c', '%t %T', join(dir, 'dev')], { encoding: 'utf8' })).toBe('fff fffff\n')
    expect(lstatx(join(dir, 'dev'))).toMatchObject({ rdevMajor: 4095, rdevMinor: 1048575 })
  })

  it('names the errno, the call and the path of a failure', () => {
    const failure = (() => {
      try {
        mkfifo(join(dir, 'absent/fifo'))
      } catch (error) {
        return error
      }
    })()
    expect(failure).toBeInstanceOf(LinuxError)
    expect(failure).toMatchObject({ code: 'ENOENT', syscall: 'mknod', path: join(dir, 'absent/fifo') })
  })

  it('refuses a path with a NUL instead of cutting it', () => {
    expect(() => mkfifo(`${dir}/a\0b`)).toThrow('EINVAL')
    expect(lstatx(`${dir}/a`)).toBeUndefined()
  })
})

describe('xattrs', () => {
  it('are set, read, listed and removed, on symlinks too', () => {
    const file = join(dir, 'f')
    writeFileSync(file, '')
    symlinkSync('f', join(dir, 'l'))
    lsetxattr(file, 'trusted.empty', new Uint8Array())
    lsetxattr(file, 'trusted.binary', Buffer.from([0, 255, 1]))
    lsetxattr(join(dir, 'l'), 'trusted.link', Buffer.from('x'))
    expect(lgetxattr(file, 'trusted.binary')).toEqual(Buffer.from([0, 255, 1]))
    expect(lgetxattr(file, 'trusted.empty')).toEqual(Buffer.alloc(0))
    expect(lgetxattr(file, 'trusted.link')).toBeUndefined()
    expect(llistxattr(file).map(String).sort()).toEqual(['trusted.binary', 'trusted.empty'])
    lremovexattr(file, 'trusted.empty')
    expect(() => lremovexattr(file, 'trusted.empty')).toThrow('ENODATA')
  })

  it('may have long values and many names', () => {
    const file = join(dir, 'f')
    writeFileSync(file, '')
    const names = Array.from({ length: 30 }, (_, index) => `trusted.${'n'.repeat(index)}`).slice(1)
    for (const name of names) lsetxattr(file, name, Buffer.alloc(name.length * 20, name))
    expect(llistxattr(file).map(String).sort()).toEqual(names.sort())
    for (const name of names) expect(lgetxattr(file, name)).toEqual(Buffer.alloc(name.length * 20, name))
    expect(lgetxattr(file, 'trusted.absent')).toBeUndefined()
    expect(llistxattr('/proc/self/stat')).toEqual([])
    expect(() => llistxattr(join(dir, 'absent'))).toThrow('ENOENT')
  })
})

describe('relative operations', () => {
  it('do not leave a directory through a symlink', () => {
    symlinkSync('/etc', join(dir, 'out'))
    const root = openat(AT_FDCWD, dir, 0)
    expect(() => openBeneath(root, 'out', 0)).toThrow('ELOOP')
    expect(() => openBeneath(root, '../', 0)).toThrow('EXDEV')
    symlinkat(Buffer.from([0xff, 0x41]), root, Buffer.from([0xfe]))
    expect(readlinkat(root, Buffer.from([0xfe]))).toEqual(Buffer.from([0xff, 0x41]))
    expect(readlinkSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xfe])]), 'buffer')).toEqual(
      Buffer.from([0xff, 0x41]),
    )
  })
})

it('changes the owner of a symlink, not of its target', () => {
  writeFileSync(join(dir, 'f'), '')
  symlinkSync('f', join(dir, 'l'))
  lchown(join(dir, 'l'), 1234, 70000)
  expect(lstatSync(join(dir, 'l'))).toMatchObject({ uid: 1234, gid: 70000 })
  expect(lstatSync(join(dir, 'f')).uid).toBe(0)
})

it('syncs a file system and fails on an absent path', async () => {
  await syncfs(dir)
  await expect(syncfs(join(dir, 'absent'))).rejects.toMatchObject({ code: 'ENOENT' })
})
