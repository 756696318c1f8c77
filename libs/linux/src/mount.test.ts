import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Mount,
  mountAll,
  mountInfo,
  parseMountInfo,
  parseMountOptions,
  unmountAll,
  withTempMount,
} from './index.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync('/dev/shm/flotilla-mount test-')
})
afterEach(async () => {
  await unmountAll(dir)
  rmSync(dir, { recursive: true })
})

function make(...names: string[]): string[] {
  return names.map((name) => {
    mkdirSync(join(dir, name), { recursive: true })
    return join(dir, name)
  })
}

const bind = (source: string, ...options: string[]): Mount => ({ type: 'bind', source, target: '', options })
const overlay = (...options: string[]): Mount => ({ type: 'overlay', source: 'overlay', target: '', options })
const mountedBelow = (path: string) => mountInfo().filter((one) => one.target.startsWith(path))

describe('options', () => {
  it('become flags and data, the last of two opposites winning', () => {
    expect(
      parseMountOptions(['ro', 'nosuid', 'rw', 'size=1m', 'X-containerd.mkdir.path=/x', 'noexec', 'exec']),
    ).toEqual({
      flags: 2,
      data: ['size=1m'],
      loop: false,
    })
  })

  it('that need more than a mount call are refused, not left out', () => {
    expect(() => parseMountOptions(['uidmap=0:1000:1'])).toThrow('ENOTSUP')
    expect(() => parseMountOptions(['gidmap=0:1000:1'])).toThrow('ENOTSUP')
  })

  it('that share a name with what every object has are data', () => {
    expect(parseMountOptions(['constructor']).data).toEqual(['constructor'])
  })
})

describe('mountAll', () => {
  it('mounts a file by a loop device, which goes with the mount', async () => {
    const [directory = '', target = ''] = make('files', 'target')
    const file = join(directory, 'image')
    writeFileSync(file, '')
    truncateSync(file, 4 << 20)
    execFileSync('mkfs.ext4', ['-q', file])
    const image = (...options: string[]): Mount => ({ type: 'ext4', source: file, target: '', options })
    await mountAll([image('loop', 'rw')], target)
    writeFileSync(join(target, 'f'), 'written')
    await unmountAll(target)
    await mountAll([image('loop', 'ro')], target)
    expect(readFileSync(join(target, 'f'), 'utf8')).toBe('written')
    expect(() => writeFileSync(join(target, 'f'), '')).toThrow('EROFS')
    await unmountAll(target)
    await expect(mountAll([image('loop', 'no-such-option')], target)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(mountAll([{ ...image('loop'), source: `${file}-absent` }], target)).rejects.toThrow('ENOENT')
    expect(execFileSync('losetup', ['--associated', file], { encoding: 'utf8' })).toBe('')
  })

  it('makes a read-only bind mount really read-only', async () => {
    const [source = '', target = ''] = make('source', 'target')
    await mountAll([bind(source, 'rbind', 'ro', 'nosuid')], target)
    expect(() => writeFileSync(join(target, 'f'), '')).toThrow('EROFS')
    expect(mountedBelow(target)[0]?.options).toEqual(expect.arrayContaining(['ro', 'nosuid']))
    writeFileSync(join(source, 'f'), 'x')
    expect(readdirSync(target)).toEqual(['f'])
  })

  it('mounts several in order, also in subdirectories, and unmounts all', async () => {
    const [source = '', target = ''] = make('source/sub', 'target').map((path) => path.replace(/\/sub$/, ''))
    const tmpfs: Mount = { type: 'tmpfs', source: 'tmpfs', target: 'sub', options: ['size=64k', 'nodev'] }
    await mountAll([bind(source, 'rbind', 'rw'), tmpfs], target)
    expect(mountedBelow(target).map((one) => one.type)).toEqual(['tmpfs', 'tmpfs'])
    expect(mountedBelow(target)[1]?.superOptions).toContain('size=64k')
    await unmountAll(target)
    expect(mountedBelow(target)).toEqual([])
  })

  it('undoes what it mounted when a later one fails', async () => {
    const [source = '', target = ''] = make('source', 'target')
    await expect(mountAll([bind(source, 'rbind'), bind(join(dir, 'absent'), 'rbind')], target)).rejects.toMatchObject({
      code: 'ENOENT',
    })
    expect(mountedBelow(target)).toEqual([])
  })

  it('refuses a target that leaves the root, and types it does not know', async () => {
    const [source = '', target = ''] = make('source', 'target')
    await expect(mountAll([{ ...bind(source, 'rbind'), target: '../source' }], target)).rejects.toThrow(
      'leaves its root',
    )
    await expect(mountAll([{ ...bind(source), type: 'format/mkfs' }], target)).rejects.toMatchObject({
      code: 'ENOTSUP',
    })
  })

  // 60 lower directories need the short names; 400 need the kernel's newer interface.
  it.each([60, 400])('mounts an overlay of %i lower directories with long names', async (count) => {
    const base = `root-of-a-snapshotter-with-a-very-long-name-${'x'.repeat(60)}/snapshots`
    const lowers = make(...Array.from({ length: count }, (_, index) => `${base}/${index}/fs`))
    lowers.forEach((lower, index) => {
      writeFileSync(join(lower, `f${index}`), '')
      writeFileSync(join(lower, 'same'), String(index))
    })
    const [upper, work, target = ''] = make('upper', 'work', 'target')
    await mountAll([overlay(`workdir=${work}`, `upperdir=${upper}`, `lowerdir=${lowers.join(':')}`)], target)
    expect(readdirSync(target)).toHaveLength(count + 1)
    expect(readFileSync(join(target, 'same'), 'utf8')).toBe('0')
    writeFileSync(join(target, 'new'), '')
    expect(readdirSync(join(dir, 'upper'))).toEqual(['new'])
  })
})

describe('unmountAll', () => {
  it('is silent about what is not mounted or not there, and takes stacked mounts', async () => {
    const [source = '', target = ''] = make('source', 'target')
    await unmountAll(target)
    await unmountAll(join(dir, 'absent'))
    await mountAll([bind(source, 'rbind'), bind(source, 'rbind')], target)
    expect(mountedBelow(target)).toHaveLength(2)
    await unmountAll(target)
    expect(mountedBelow(target)).toEqual([])
  })

  it('detaches what stays busy', async () => {
    const [target = ''] = make('target')
    await mountAll([{ type: 'tmpfs', source: 'tmpfs', target: '', options: [] }], target)
    const fd = openSync(join(target, 'f'), 'w')
    await unmountAll(target)
    expect(mountedBelow(target)).toEqual([])
    closeSync(fd)
  })
})

describe('withTempMount', () => {
  it('gives an empty directory without mounts', async () => {
    expect(await withTempMount([], { tmpDir: dir }, async (root) => readdirSync(root))).toEqual([])
    expect(readdirSync(dir)).toEqual([])
  })

  it('turns an overlay into a read-only view that has its upper directory', async () => {
    const [upper = '', work, lower = ''] = make('upper', 'work', 'lower')
    writeFileSync(join(upper, 'new'), '')
    writeFileSync(join(lower, 'old'), '')
    const mounts = [overlay(`workdir=${work}`, `upperdir=${upper}`, `lowerdir=${lower}`)]
    await withTempMount(mounts, { readonly: true, tmpDir: dir }, async (root) => {
      expect(readdirSync(root).sort()).toEqual(['new', 'old'])
      expect(() => writeFileSync(join(root, 'x'), '')).toThrow('EROFS')
    })
  })

  it('works with an upper directory alone, writable and read-only, and drops volatile', async () => {
    const [upper = '', work] = make('upper', 'work')
    const mounts = [overlay(`workdir=${work}`, `upperdir=${upper}`, 'volatile')]
    await withTempMount(mounts, { tmpDir: dir }, async (root) => writeFileSync(join(root, 'x'), ''))
    expect(readdirSync(upper)).toEqual(['x'])
    await withTempMount(mounts, { tmpDir: dir, readonly: true }, async (root) => {
      expect(readdirSync(root)).toEqual(['x'])
      expect(() => writeFileSync(join(root, 'y'), '')).toThrow('EROFS')
    })
  })

  it('unmounts and removes its directory when the use fails, and when mounting fails', async () => {
    const [source = ''] = make('source')
    writeFileSync(join(source, 'kept'), '')
    const failing = withTempMount([bind(source, 'rbind')], { tmpDir: dir }, async () => {
      throw new Error('use failed')
    })
    await expect(failing).rejects.toThrow('use failed')
    await expect(withTempMount([bind(join(dir, 'absent'), 'rbind')], { tmpDir: dir }, async () => 1)).rejects.toThrow()
    expect(readdirSync(dir)).toEqual(['source'])
    expect(readdirSync(source)).toEqual(['kept'])
    expect(mountedBelow(dir)).toEqual([])
  })
})

it('parses escaped names and optional fields of mountinfo', () => {
  const line = '36 35 98:0 /root\\040dir /mnt\\0112 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue\n'
  expect(parseMountInfo(line)).toEqual([
    expect.objectContaining({
      root: '/root dir',
      target: '/mnt\t2',
      propagation: ['shared:1', 'master:2'],
      type: 'ext3',
      superOptions: ['rw', 'errors=continue'],
    }),
  ])
})
