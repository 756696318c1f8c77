import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { fileType, lchown, lgetxattr, lsetxattr, lstatx, makeDevice, mkfifo, mknod, utimens } from '@flotilla/linux'
import { expect, test } from 'vitest'
import type { Session } from './session.ts'

const read = (path: string) => readFileSync(path, 'utf8')
const longest = 127

/** What is written is there afterwards, in it and in what is made upon it, and nowhere else. */
export function treeCases(session: () => Session): void {
  test('a child has what its parent has; what it writes does not reach the parent', async () => {
    const s = session()
    const base = await s.layer('', (root) => {
      mkdirSync(`${root}/d`)
      writeFileSync(`${root}/d/f`, 'base')
    })
    const top = await s.layer(base, (root) => {
      expect(read(`${root}/d/f`)).toBe('base')
      writeFileSync(`${root}/d/f`, 'top')
      writeFileSync(`${root}/d/g`, 'new')
    })
    await s.look(base, (root) => {
      expect(read(`${root}/d/f`)).toBe('base')
      expect(readdirSync(`${root}/d`)).toEqual(['f'])
    })
    await s.look(top, (root) => expect([read(`${root}/d/f`), read(`${root}/d/g`)]).toEqual(['top', 'new']))
  })

  test('a file removed in a child stays removed in its children, and stays in the parent', async () => {
    const s = session()
    const base = await s.layer('', (root) => {
      for (const name of ['a', 'b', 'c']) writeFileSync(`${root}/${name}`, name)
    })
    const middle = await s.layer(base, (root) => unlinkSync(`${root}/b`))
    const top = await s.layer(middle, (root) => writeFileSync(`${root}/d`, ''))
    await s.look(top, (root) => expect(readdirSync(root)).toEqual(['a', 'c', 'd']))
    await s.look(base, (root) => expect(readdirSync(root)).toEqual(['a', 'b', 'c']))
  })

  test('a directory that was removed and made again does not show the old one', async () => {
    const s = session()
    const base = await s.layer('', (root) => {
      mkdirSync(`${root}/d/deep`, { recursive: true })
      writeFileSync(`${root}/d/deep/f`, '')
    })
    const middle = await s.layer(base, (root) => {
      rmSync(`${root}/d`, { recursive: true })
      mkdirSync(`${root}/d`)
      writeFileSync(`${root}/d/new`, '')
    })
    await s.inside(await s.prepare('k', middle), (root) => expect(readdirSync(`${root}/d`)).toEqual(['new']))
  })

  test('a removed directory of a parent is gone', async () => {
    const s = session()
    const base = await s.layer('', (root) => {
      mkdirSync(`${root}/empty`)
      mkdirSync(`${root}/kept`)
    })
    const middle = await s.layer(base, (root) => rmdirSync(`${root}/empty`))
    const top = await s.layer(middle, () => {})
    await s.look(top, (root) => expect(readdirSync(root)).toEqual(['kept']))
  })

  test('files become directories and directories become files', async () => {
    const s = session()
    const base = await s.layer('', (root) => {
      writeFileSync(`${root}/file`, '')
      mkdirSync(`${root}/dir`)
      writeFileSync(`${root}/dir/f`, '')
    })
    const middle = await s.layer(base, (root) => {
      unlinkSync(`${root}/file`)
      mkdirSync(`${root}/file`)
      rmSync(`${root}/dir`, { recursive: true })
      writeFileSync(`${root}/dir`, 'now a file')
    })
    await s.inside(await s.prepare('k', middle), (root) => {
      expect(statSync(`${root}/file`).isDirectory()).toBe(true)
      expect(read(`${root}/dir`)).toBe('now a file')
    })
  })

  test('what a parent has can be renamed', async () => {
    const s = session()
    const base = await s.layer('', (root) => {
      mkdirSync(`${root}/dir`)
      writeFileSync(`${root}/dir/f`, 'f')
      writeFileSync(`${root}/file`, 'file')
    })
    const middle = await s.layer(base, (root) => {
      renameSync(`${root}/file`, `${root}/dir/moved`)
      // Without redirects overlayfs answers EXDEV for directories, and programs copy instead.
      try {
        renameSync(`${root}/dir`, `${root}/renamed`)
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EXDEV')) throw error
        mkdirSync(`${root}/renamed`)
        for (const name of readdirSync(`${root}/dir`)) renameSync(`${root}/dir/${name}`, `${root}/renamed/${name}`)
        rmdirSync(`${root}/dir`)
      }
    })
    await s.inside(await s.prepare('k', middle), (root) => {
      expect(readdirSync(root)).toEqual(['renamed'])
      expect(readdirSync(`${root}/renamed`)).toEqual(['f', 'moved'])
      expect(read(`${root}/renamed/moved`)).toBe('file')
    })
  })

  test('hard links stay links', async () => {
    const s = session()
    const base = await s.layer('', (root) => {
      mkdirSync(`${root}/d`)
      writeFileSync(`${root}/a`, 'one')
      linkSync(`${root}/a`, `${root}/d/b`)
      symlinkSync('nowhere', `${root}/s`)
      linkSync(`${root}/s`, `${root}/t`)
    })
    const same = (root: string, one: string, two: string) =>
      expect(lstatSync(`${root}/${one}`).ino).toBe(lstatSync(`${root}/${two}`).ino)
    await s.look(base, (root) => same(root, 'a', 'd/b'))
    await s.inside(await s.prepare('k', base), (root) => {
      expect(lstatSync(`${root}/a`).nlink).toBe(2)
      expect(lstatSync(`${root}/s`).nlink).toBe(2)
      linkSync(`${root}/a`, `${root}/c`)
      same(root, 'a', 'c')
      expect(read(`${root}/c`)).toBe('one')
    })
    await s.commit('n', 'k')
    await s.look('n', (root) => same(root, 'a', 'c'))
  })

  test('every kind of file, with owner, mode, time and extended attributes, is in the child as in the parent', async () => {
    const s = session()
    const mtime = 1_234_567_890_123_456_789n
    const names = ['file', 'setuid', 'dir', 'link', 'fifo', 'char', 'block']
    const base = await s.layer('', (root) => {
      writeFileSync(`${root}/file`, 'content')
      writeFileSync(`${root}/setuid`, '')
      mkdirSync(`${root}/dir`)
      symlinkSync('/etc/passwd', `${root}/link`)
      mkfifo(`${root}/fifo`)
      mknod(`${root}/char`, fileType.character | 0o600, makeDevice(1, 3))
      mknod(`${root}/block`, fileType.block | 0o600, makeDevice(259, 70_000))
      names.forEach((name, index) => {
        lchown(`${root}/${name}`, 1_000 + index, 70_000 + index)
      })
      chmodSync(`${root}/file`, 0o640)
      chmodSync(`${root}/setuid`, 0o6755)
      chmodSync(`${root}/dir`, 0o1777)
      lsetxattr(`${root}/file`, 'user.test', Buffer.from([0, 1, 255]))
      lsetxattr(`${root}/dir`, 'trusted.test', Buffer.from('kept'))
      for (const name of names) utimens(`${root}/${name}`, { atime: mtime, mtime })
    })
    const described = (root: string) =>
      names.map((name) => {
        const path = `${root}/${name}`
        const { mode, uid, gid, size, mtime, rdevMajor, rdevMinor } = lstatx(path)!
        // The size of a directory is the file system's own affair.
        return { name, mode, uid, gid, size: name === 'dir' ? 0 : size, mtime, rdevMajor, rdevMinor }
      })
    const parent = await s.look(base, described)
    expect(parent[0]).toMatchObject({ uid: 1_000, gid: 70_000, mtime: { seconds: 1_234_567_890, nanos: 123_456_789 } })
    expect(parent[1]?.mode).toBe(fileType.regular | 0o6755)
    const look = (root: string) => {
      expect(described(root)).toEqual(parent)
      expect(readlinkSync(`${root}/link`)).toBe('/etc/passwd')
      expect(lgetxattr(`${root}/file`, 'user.test')).toEqual(Buffer.from([0, 1, 255]))
      expect(String(lgetxattr(`${root}/dir`, 'trusted.test'))).toBe('kept')
    }
    await s.inside(await s.prepare('k', base), look)
    const top = await s.layer(base, () => {})
    await s.look(top, look)
  })

  test('names need not be text', async () => {
    const s = session()
    const name = Buffer.from([0x66, 0xff, 0xfe, 0x0a])
    const inside = (root: string) => Buffer.concat([Buffer.from(`${root}/`), name])
    const base = await s.layer('', (root) => writeFileSync(inside(root), 'odd'))
    await s.inside(await s.prepare('k', base), (root) => expect(readFileSync(inside(root), 'utf8')).toBe('odd'))
  })

  test('the owner of the root goes from parent to child', async () => {
    const s = session()
    const base = await s.layer('', (root) => chownSync(root, 123, 456))
    const top = await s.layer(base, () => {})
    await s.inside(await s.prepare('k', top), (root) => expect(statSync(root)).toMatchObject({ uid: 123, gid: 456 }))
  })

  test('a new root has mode 0755 whatever the umask', async () => {
    const s = session()
    const umask = process.umask(0o077)
    try {
      await s.inside(await s.prepare('k'), (root) => expect(statSync(root).mode & 0o7777).toBe(0o755))
    } finally {
      process.umask(umask)
    }
  })

  test('a view shows the whole chain and cannot be written to', async () => {
    const s = session()
    const base = await s.layer('', (root) => writeFileSync(`${root}/a`, ''))
    const top = await s.layer(base, (root) => writeFileSync(`${root}/b`, ''))
    const wanted = { '': [], [base]: ['a'], [top]: ['a', 'b'] }
    for (const [parent, names] of Object.entries(wanted)) {
      await s.inside(await s.view(`v ${parent}`, parent), (root) => {
        expect(readdirSync(root)).toEqual(names)
        expect(() => writeFileSync(`${root}/new`, '')).toThrow('EROFS')
        expect(() => chmodSync(root, 0o700)).toThrow('EROFS')
      })
    }
  })

  test(`a chain of ${longest + 1} layers shows all, the nearest winning`, async () => {
    const s = session()
    let parent = ''
    for (let index = 0; index < longest; index++) {
      parent = await s.layer(parent, (root) => {
        writeFileSync(`${root}/of-${index}`, '')
        writeFileSync(`${root}/latest`, String(index))
        if (index >= 10) unlinkSync(`${root}/of-${index - 10}`)
      })
    }
    const look = (root: string) => {
      expect(read(`${root}/latest`)).toBe(String(longest - 1))
      expect(readdirSync(root).length).toBe(11)
      expect(existsSync(`${root}/of-${longest - 1}`)).toBe(true)
    }
    await s.inside(await s.prepare('k', parent), (root) => {
      look(root)
      writeFileSync(`${root}/top`, '')
    })
    await s.commit('n', 'k')
    await s.inside(await s.view('v', parent), look)
    await s.look('n', (root) => expect(readdirSync(root)).toContain('top'))
  })

  test('layers made side by side are put upon each other when they are committed, where the driver can', async () => {
    const s = session()
    if (!s.tested.capabilities.includes('rebase')) return
    const base = await s.layer('', (root) => writeFileSync(`${root}/a`, ''))
    await s.inside(await s.prepare('k'), (root) => writeFileSync(`${root}/b`, ''))
    await s.commit('n', 'k', {}, base)
    expect((await s.stat('n')).parent).toBe(base)
    await s.look('n', (root) => expect(readdirSync(root)).toEqual(['a', 'b']))
    await expect(s.remove(base)).rejects.toThrow('cannot remove snapshot with child')
  })
}
