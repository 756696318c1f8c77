import type { Config } from '@flotilla/config'
import type { DriverKind } from '@flotilla/snapshot-driver'
import { blockfile } from '@flotilla/snapshotter-blockfile'
import { btrfs } from '@flotilla/snapshotter-btrfs'
import { devmapper } from '@flotilla/snapshotter-devmapper'
import { erofs } from '@flotilla/snapshotter-erofs'
import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { proxy } from '@flotilla/snapshotter-proxy'

type Settings = Pick<Config, 'blockfile' | 'devmapper' | 'proxyPlugins'>

/** Every driver that is built in: a new one is its folder and a line here. */
const builtIn = (config: Settings): DriverKind[] => [
  overlayfs(),
  native(),
  btrfs(),
  blockfile(config.blockfile),
  erofs(),
  devmapper(config.devmapper),
]

/** The snapshot drivers of a node. A proxy plugin takes the place of a driver by the same name. */
export function snapshotters(config: Settings): DriverKind[] {
  const plugged = config.proxyPlugins.filter(({ type }) => type === 'snapshot').map(proxy)
  return [...builtIn(config).filter(({ name }) => !plugged.some((one) => one.name === name)), ...plugged]
}
