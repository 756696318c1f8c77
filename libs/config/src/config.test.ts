import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { defaultFile, dumpConfig, loadConfig } from './index.ts'

const dir = mkdtempSync(join(tmpdir(), 'flotilla-config-'))
afterAll(() => rmSync(dir, { recursive: true }))
const file = (text: string) => {
  const path = join(dir, 'config.toml')
  writeFileSync(path, text)
  return path
}

describe('configuration', () => {
  it('reads its own default file back as the defaults', () => {
    expect(loadConfig({ file: file(defaultFile()) })).toEqual(loadConfig())
  })
  it('lets a flag win over the file and the file over the default', () => {
    const config = loadConfig({
      file: file('root = "/a"\nstate = "/b"\n[log]\nlevel = "warn"'),
      overrides: { root: '/c' },
    })
    expect(config).toMatchObject({ root: '/c', state: '/b', logLevel: 'warn' })
  })
  it('takes service addresses by name', () => {
    expect(loadConfig({ file: file('[services]\nimages = "127.0.0.1:1"') }).services).toEqual({ images: '127.0.0.1:1' })
  })
  it.each([
    ['8192MB', 2 ** 33],
    ['1.5g', 1.5 * 2 ** 30],
    ['2 TiB', 2 ** 41],
    ['4096', 4096],
  ])('takes a size such as %s, in units of 1024', (size, bytes) => {
    const path = file(`[plugins."io.containerd.snapshotter.v1.devmapper"]\nbase_image_size = "${size}"`)
    expect(loadConfig({ file: path }).devmapper.baseImageSize).toBe(bytes)
  })
  it.each([
    ['\n\n[gc]\nspeed = 1', /config\.toml:4: unknown key "gc.speed"/],
    ['[nope]\nx = 1', /config\.toml:1: unknown key "nope"/],
    ['[diff]\nworkers = "two"', /config\.toml:2: diff.workers must be a whole number, is "two"/],
    ['[log]\nlevel = "loud"', /log.level must be one of trace, debug/],
    ['[cluster]\nendpoint = "0.0.0.0:7443"', /cluster\.endpoint 0\.0\.0\.0:7443 needs cluster\.ca/],
    ['[cluster]\ncert = "/a"\nkey = "/b"', /cluster\.ca, cluster\.cert and cluster\.key are set together/],
    ['[redis]\ncert = "/a"', /redis\.cert and redis\.key are set together/],
    ['[devmapper]\nbase_image_size = "large"', /devmapper\.base_image_size must be a size such as 10GB, is "large"/],
    ['[devmapper]\npool_name = "/dev/mapper/p"', /devmapper\.pool_name is a name in \/dev\/mapper/],
    ['root = ', /config\.toml: /],
  ])('refuses %j with the place', (text, message) => {
    expect(() => loadConfig({ file: file(text) })).toThrow(message)
  })
})

describe("containerd's names", () => {
  it('are taken for the options that have them', () => {
    const text = `version = 3
[grpc]
address = "/run/c.sock"
gid = 999
[debug]
level = "debug"
[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "1m30s"
schedule_delay = "0s"
[plugins.'io.containerd.service.v1.diff-service']
default = ["walking", "other"]
[plugins."io.containerd.metadata.v1.bolt"]
content_sharing_policy = "isolated"
[proxy_plugins.other]
type = "diff"
address = "/o.sock"`
    expect(loadConfig({ file: file(text) })).toMatchObject({
      address: '/run/c.sock',
      socket: { uid: 0, gid: 999 },
      logLevel: 'debug',
      gc: { startupDelay: 90_000, scheduleDelay: 0 },
      diff: { order: ['walking', 'other'] },
      sharingPolicy: 'isolated',
    })
  })
  it.each([
    ['version = 9', ':1: version must be one of 1, 2, 3, 4, is 9'],
    ['address = "/a"\n[grpc]\naddress = "/b"', ':3: grpc.address says again what address says'],
    ['[metrics]\naddress = ""\n[grpc]\nport = 1', ':4: unknown key "grpc.port"'],
    ['[metrics]\naddress = 1\n[grpc]\naddress = ""', ':2: metrics.address must be a string'],
    ['[grpc]\naddress = "/a"\n\n[metrics]\naddress = 1', ':5: metrics.address must be a string'],
    [
      '[plugins."io.containerd.gc.v1.scheduler"]\nstartup_delay = "soon"',
      ':2: plugins."io.containerd.gc.v1.scheduler".startup_delay must be a whole number or a duration such as "10s"',
    ],
    ['[plugins."io.containerd.cri.v1"]\nx = 1', ':1: unknown key "plugins."io.containerd.cri.v1""'],
  ])('are refused with the line: %j', (text, message) => {
    expect(() => loadConfig({ file: file(text) })).toThrow(message)
  })
})

describe('imports', () => {
  const write = (name: string, text: string) => writeFileSync(join(dir, name), text)
  it('win over the file that names them, in the order of their names, and may name each other', () => {
    write('b.part', 'root = "/b"\nstate = "/b"')
    write(
      'a.part',
      'root = "/a"\nimports = ["config.toml", "sub-*.toml"]\n[proxy_plugins.one]\ntype = "diff"\naddress = "/1"',
    )
    write('sub-1.toml', 'node_name = "sub"\n[log]\nlevel = "debug"')
    const config = loadConfig({ file: file('imports = ["*.part"]\nroot = "/main"\n[log]\nlevel = "warn"') })
    expect(config).toMatchObject({ root: '/b', state: '/b', nodeName: 'sub', logLevel: 'debug' })
    expect(config.proxyPlugins.map(({ name }) => name)).toEqual(['one'])
  })
  it('are refused with their own line', () => {
    write('wrong.toml', '\n[log]\nlevel = 1')
    expect(() => loadConfig({ file: file('imports = ["wrong.toml"]') })).toThrow('wrong.toml:3: log.level must be')
    expect(() => loadConfig({ file: file('imports = ["absent.toml"]') })).toThrow('cannot read config file: ENOENT')
    expect(() => loadConfig({ file: file('imports = "x"') })).toThrow(':1: imports must be a list of paths')
  })
})

describe('stream processors', () => {
  it('are named tables as containerd has them', () => {
    const text =
      '[stream_processors."a b"]\naccepts = ["x/y"]\nreturns = "x/z"\npath = "cat"\nargs = ["-"]\nenv = ["A=1"]'
    expect(loadConfig({ file: file(text) }).streamProcessors).toEqual([
      { id: 'a b', accepts: ['x/y'], returns: 'x/z', path: 'cat', args: ['-'], env: ['A=1'] },
    ])
  })
  it.each([
    ['[stream_processors.a]\naccepts = "x"\nreturns = "y"\npath = "z"', ':2: stream_processors.a.accepts must be'],
    ['[stream_processors.a]\naccepts = ["x"]\nreturns = "y"', ':1: stream_processors.a.path must be'],
    ['[stream_processors.a]\nmore = 1', ':2: unknown key "stream_processors.a.more"'],
  ])('are refused with the line: %s', (text, message) => {
    expect(() => loadConfig({ file: file(text) })).toThrow(message)
  })
})

describe('a dump', () => {
  it('reads back as what it was made of', () => {
    const text = `[services]
images = "127.0.0.1:1"
[gc]
pause_threshold = 0.1
[proxy_plugins."other one"]
type = "snapshot"
address = "/o.sock"
capabilities = ["rebase"]
[proxy_plugins."other one".exports]
"a b" = "c\\"d"
[stream_processors.p]
accepts = ["x"]
returns = "y"
path = "z"`
    const settings = { file: file(text), overrides: { root: '/flag' } }
    const dumped = dumpConfig(settings)
    const config = loadConfig(settings)
    expect(loadConfig({ file: file(dumped) })).toEqual(config)
    expect(config).toMatchObject({ root: '/flag', services: { images: '127.0.0.1:1' } })
  })
})

describe('proxy plugins', () => {
  it('are named tables as containerd has them', () => {
    const text = [
      '[proxy_plugins.stargz]\ntype = "snapshot"\naddress = "/run/stargz.sock"\ncapabilities = ["rebase"]',
      '[proxy_plugins.stargz.exports]\nroot = "/r"',
      '[proxy_plugins."other one"]\ntype = "diff"\naddress = "unix:///run/other.sock"',
    ].join('\n')
    expect(loadConfig({ file: file(text) }).proxyPlugins).toEqual([
      {
        name: 'stargz',
        type: 'snapshot',
        address: 'unix:///run/stargz.sock',
        platform: '',
        exports: { root: '/r' },
        capabilities: ['rebase'],
      },
      {
        name: 'other one',
        type: 'diff',
        address: 'unix:///run/other.sock',
        platform: '',
        exports: {},
        capabilities: [],
      },
    ])
  })
  it.each([
    ['[proxy_plugins.a]\ntype = "vm"\naddress = "/s"', ':2: proxy_plugins.a.type must be'],
    ['[proxy_plugins.a]\ntype = "diff"\naddress = "host:1"', ':3: proxy_plugins.a.address must be the path'],
    ['[proxy_plugins.a]\ntype = "diff"\naddress = "/s"\nmore = 1', ':4: unknown key "proxy_plugins.a.more"'],
    ['proxy_plugins = 1', ':1: proxy_plugins must be a table'],
    [
      '[proxy_plugins.a]\ntype = "content"\naddress = "/s"\n[proxy_plugins.b]\ntype = "content"\naddress = "/t"',
      'proxy_plugins.b: there is a content store already, "a"',
    ],
    [
      '[cluster]\nadvertise = "127.0.0.1:1"\n[proxy_plugins.a]\ntype = "content"\naddress = "/s"',
      'proxy_plugins.a: a content store of another program cannot be used with cluster.advertise',
    ],
  ])('are refused with the line: %s', (text, message) => {
    expect(() => loadConfig({ file: file(text) })).toThrow(message)
  })
})

it('clients install programs below the root unless told otherwise, so that instances do not meet', () => {
  expect(loadConfig({ overrides: { root: '/srv/a' } }).optPath).toBe('/srv/a/opt')
  expect(loadConfig({ overrides: { root: '/srv/a', 'opt.path': '/opt/containerd' } }).optPath).toBe('/opt/containerd')
})
