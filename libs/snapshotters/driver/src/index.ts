export { type Directories, openDirectories } from './directories.ts'
export { diskUsage } from './disk-usage.ts'
export {
  type Directory,
  type DiskUsage,
  type DriverKind,
  type DriverMount,
  type NewDirectory,
  type SnapshotDriver,
  TargetExists,
} from './driver.ts'
export { type Ext4, readExt4 } from './ext4.ts'
export { continueIds, counterFile, type IdCounter, openIdCounter } from './id-counter.ts'
export { driverLabelPrefix, gidMappingLabel, uidMappingLabel } from './labels.ts'
export { type Turns, takeTurns } from './turns.ts'
