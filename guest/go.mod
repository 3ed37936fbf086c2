module i2kit.dev/guest

go 1.26
