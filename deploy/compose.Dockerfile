# What any image needs to run its command only while it leads.
FROM busybox:1.37
COPY --from=leaderrun /usr/local/bin/leaderrun /usr/local/bin/
ENTRYPOINT ["leaderrun","--"]
